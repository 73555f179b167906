using System.Buffers.Binary;
using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>An initiator with several logical units, raw CDBs and raw parameter lists; commands may have to wait.</summary>
internal sealed class CopyInitiator : IDisposable
{
    private const int BufferBytes = 1 << 20;
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    private readonly NativeBuffer input = new(BufferBytes);
    private readonly NativeBuffer output = new(BufferBytes);
    private ulong tagLast;

    /// <summary>Logs in to a target and takes the unit attentions of its logical units.</summary>
    public CopyInitiator(ScsiTarget target, string portName = "iqn.1993-08.org.debian:a,i,0x1")
    {
        Target = target;
        Nexus = target.CreateNexus(portName);
        foreach (var (lun, _) in target.Luns)
            Assert.Equal(0x062900, Sense(Send("00 00 00 00 00 00", lun: lun)));
    }

    public ScsiTarget Target { get; }

    public Nexus Nexus { get; }

    /// <summary>Data of the last command that was waited for.</summary>
    public byte[] Data { get; private set; } = [];

    public static ScsiTarget TargetOf(CopyDomain? copies, params BlockDevice[] devices) => TargetOf(copies, "iqn.2026-01.org.cowscsi:test,t,0x0001", devices);

    public static ScsiTarget TargetOf(CopyDomain? copies, string portName, params BlockDevice[] devices)
    {
        var target = new ScsiTarget(portName, copies: copies);
        for (var lun = 0; lun < devices.Length; lun++)
            Assert.True(target.TryAddLun(lun, UnitOf(devices[lun], $"{portName}/{lun}")));
        return target;
    }

    public static LogicalUnit UnitOf(BlockDevice device, string name, LogicalUnitOptions? options = null)
    {
        Span<byte> id = stackalloc byte[16];
        System.Security.Cryptography.SHA256.HashData(System.Text.Encoding.UTF8.GetBytes(name)).AsSpan(0, 16).CopyTo(id);
        return new LogicalUnit(device, LogicalUnitIdentity.FromDisk(new Guid(id), "disk"), options ?? new LogicalUnitOptions());
    }

    public LogicalUnit Unit(int lun) => Target.Luns.First(pair => pair.Key == lun).Value;

    /// <summary>Sends a command and waits for its end.</summary>
    public ScsiCommand Send(string cdb, byte[]? dataOut = null, int lun = 0, int roomBytes = BufferBytes)
    {
        var command = new ScsiCommand();
        var pending = Start(command, cdb, dataOut, lun, roomBytes).AsTask();
        Assert.True(pending.Wait(Patience), $"{cdb} hangs.");
        Data = input.Span[..(int)command.DataInLength].ToArray();
        return command;
    }

    public ValueTask Start(
        ScsiCommand command, string cdb, byte[]? dataOut = null, int lun = 0, int roomBytes = BufferBytes,
        TaskAttribute attribute = TaskAttribute.Simple)
    {
        dataOut ??= [];
        dataOut.CopyTo(output.Span);
        command.Reset(Initiator.Hex(cdb));
        command.Tag = ++tagLast;
        command.Lun = ScsiLun.FromNumber(lun);
        command.Attribute = attribute;
        command.DataOut = output.Buffer.Slice(0, dataOut.Length);
        command.DataIn = input.Buffer.Slice(0, roomBytes);
        return Target.ExecuteAsync(Nexus, command);
    }

    /// <summary>Waits for commands and functions that end on other threads; one that hangs fails the test.</summary>
    public static void Ends(string what, params Task[] pending) => Assert.True(Task.WaitAll(pending, Patience), $"{what}: hangs.");

    public void Good(string cdb, byte[]? dataOut = null, int lun = 0)
    {
        var command = Send(cdb, dataOut, lun);
        Assert.True(command.Status == ScsiStatus.Good, $"{cdb}: {command.Status}, sense {Convert.ToHexString(command.Sense)}");
    }

    /// <summary>Sends a command that is to end with CHECK CONDITION; answers its sense data.</summary>
    public byte[] Fails(int sense, string cdb, byte[]? dataOut = null, int lun = 0)
    {
        var command = Send(cdb, dataOut, lun);
        Assert.Equal(ScsiStatus.CheckCondition, command.Status);
        Assert.Equal($"{sense:X6}", $"{Sense(command):X6}");
        return command.Sense.ToArray();
    }

    /// <summary>EXTENDED COPY(LID1) with a parameter list.</summary>
    public static string Lid1(byte[] list) => $"83 00 00 00 00 00 00 00 00 00 {list.Length:X8} 00 00";

    public static string Lid4(byte[] list) => $"83 01 00 00 00 00 00 00 00 00 {list.Length:X8} 00 00";

    public void Copy(byte[] list, int lun = 0) => Good(Lid1(list), list, lun);

    public byte[] CopyFails(int sense, byte[] list, int lun = 0) => Fails(sense, Lid1(list), list, lun);

    public static int Sense(ScsiCommand command) => Initiator.SenseOf(command);

    public static byte[] List(byte[][] devices, byte[][] segments, byte listId = 1, int usage = 0)
    {
        var list = new byte[16 + (devices.Length * 32) + segments.Sum(segment => segment.Length)];
        list[0] = listId;
        list[1] = (byte)(usage << 3);
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(2), (ushort)(devices.Length * 32));
        BinaryPrimitives.WriteInt32BigEndian(list.AsSpan(8), segments.Sum(segment => segment.Length));
        Fill(list.AsSpan(16), devices, segments);
        return list;
    }

    public static byte[] List4(byte[][] devices, byte[][] segments, uint listId = 1, int usage = 0, bool isImmediate = false)
    {
        var list = new byte[48 + (devices.Length * 32) + segments.Sum(segment => segment.Length)];
        list[0] = 0x01;
        list[1] = (byte)(usage << 3);
        list[3] = 0x20;
        list[15] = (byte)(isImmediate ? 1 : 0);
        list[16] = 0xFF;
        BinaryPrimitives.WriteUInt32BigEndian(list.AsSpan(20), listId);
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(42), (ushort)(devices.Length * 32));
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(44), (ushort)segments.Sum(segment => segment.Length));
        Fill(list.AsSpan(48), devices, segments);
        return list;
    }

    /// <summary>The CSCD descriptor of a logical unit: what an initiator makes of its first designator in page 83h.</summary>
    public byte[] Device(int lun)
    {
        Good("12 01 83 01 00 00", lun: lun);
        var descriptor = new byte[32];
        descriptor[0] = 0xE4;
        Data.AsSpan(4, 4 + Data[7]).CopyTo(descriptor.AsSpan(4));
        return descriptor;
    }

    public static byte[] Segment(int source, int destination, int blocks, long from, long to, bool countsDestination = false)
    {
        var segment = new byte[28];
        segment[0] = 0x02;
        segment[1] = (byte)(countsDestination ? 0x02 : 0);
        segment[3] = 24;
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(4), (ushort)source);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(6), (ushort)destination);
        BinaryPrimitives.WriteUInt16BigEndian(segment.AsSpan(10), (ushort)blocks);
        BinaryPrimitives.WriteInt64BigEndian(segment.AsSpan(12), from);
        BinaryPrimitives.WriteInt64BigEndian(segment.AsSpan(20), to);
        return segment;
    }

    public static string PopulateCdb(uint listId, int ranges) => $"83 10 00 00 00 00 {listId:X8} {16 + (ranges * 16):X8} 00 00";

    public static string WriteCdb(uint listId, int listBytes) => $"83 11 00 00 00 00 {listId:X8} {listBytes:X8} 00 00";

    public static string Information(uint listId) => $"84 07 {listId:X8} 00 00 00 00 00 00 10 00 00 00";

    /// <summary>Parameter list of POPULATE TOKEN.</summary>
    public static byte[] RangesOf((int Lba, int Blocks)[] ranges, uint timeoutSeconds = 0, uint? type = null)
    {
        var list = new byte[16 + (ranges.Length * 16)];
        list[2] = (byte)(type is null ? 0 : 0x02);
        BinaryPrimitives.WriteUInt32BigEndian(list.AsSpan(4), timeoutSeconds);
        BinaryPrimitives.WriteUInt32BigEndian(list.AsSpan(8), type ?? 0);
        FillRanges(list, 16, ranges);
        return list;
    }

    /// <summary>Parameter list of WRITE USING TOKEN.</summary>
    public static byte[] WriteList(byte[] token, (int Lba, int Blocks)[] ranges, long offset, bool deletes, bool isImmediate)
    {
        var list = new byte[536 + (ranges.Length * 16)];
        list[2] = (byte)((deletes ? 0x02 : 0) | (isImmediate ? 0x01 : 0));
        BinaryPrimitives.WriteInt64BigEndian(list.AsSpan(8), offset);
        token.CopyTo(list, 16);
        FillRanges(list, 536, ranges);
        return list;
    }

    /// <summary>Has a token made and fetches it.</summary>
    public byte[] Populate((int Lba, int Blocks)[] ranges, int lun = 0, uint timeoutSeconds = 0)
    {
        Good(PopulateCdb(0x1234, ranges.Length), RangesOf(ranges, timeoutSeconds), lun);
        Good(Information(0x1234), lun: lun);
        return Data[38..550];
    }

    public void WriteUsing(
        byte[] token, (int Lba, int Blocks)[] ranges, int lun = 0, long offset = 0, uint listId = 1, bool deletes = false, bool isImmediate = false)
    {
        var list = WriteList(token, ranges, offset, deletes, isImmediate);
        Good(WriteCdb(listId, list.Length), list, lun);
    }

    public byte[] WriteFails(int sense, byte[] token, (int Lba, int Blocks)[] ranges, int lun = 0, long offset = 0, uint listId = 1)
    {
        var list = WriteList(token, ranges, offset, deletes: false, isImmediate: false);
        return Fails(sense, WriteCdb(listId, list.Length), list, lun);
    }

    public void Dispose()
    {
        input.Dispose();
        output.Dispose();
    }

    private static void FillRanges(byte[] list, int headerBytes, (int Lba, int Blocks)[] ranges)
    {
        BinaryPrimitives.WriteUInt16BigEndian(list, (ushort)(list.Length - 2));
        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(headerBytes - 2), (ushort)(ranges.Length * 16));
        for (var i = 0; i < ranges.Length; i++)
        {
            BinaryPrimitives.WriteInt64BigEndian(list.AsSpan(headerBytes + (i * 16)), ranges[i].Lba);
            BinaryPrimitives.WriteInt32BigEndian(list.AsSpan(headerBytes + (i * 16) + 8), ranges[i].Blocks);
        }
    }

    private static void Fill(Span<byte> place, byte[][] devices, byte[][] segments)
    {
        foreach (var part in (byte[][])[.. devices, .. segments])
        {
            part.CopyTo(place);
            place = place[part.Length..];
        }
    }
}
