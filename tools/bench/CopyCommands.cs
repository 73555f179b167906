using System.Buffers.Binary;
using CowScsi.Layers;
using CowScsi.Scsi;

namespace CowScsi.Bench;

/// <summary>
/// An initiator without a wire: it has one logical unit's ranges copied to another by EXTENDED COPY, and by POPULATE TOKEN and WRITE USING
/// TOKEN. Its lists are made once, and only the places in them change.
/// </summary>
internal sealed class CopyCommands : IDisposable
{
    public const int SegmentBytes = 16 << 20;

    private const int BlockBytes = 512;
    private const int SourceLun = 0;
    private const int TargetLun = 1;
    private const int Lid4HeaderBytes = 48;
    private const int DeviceBytes = 32;
    private const int SegmentDescriptorBytes = 28;
    private const int TokenBytes = 512;
    private const int TokenPlace = 38;
    private const int BufferBytes = 4096;
    private const uint ListId = 7;
    private const int AttentionsMax = 8;

    private static readonly byte[] TestUnitReady = new byte[6];

    private readonly ScsiTarget target = new("bench");
    private readonly Nexus nexus;
    private readonly ScsiCommand command = new();
    private readonly NativeBuffer input = new(BufferBytes);
    private readonly NativeBuffer output = new(BufferBytes);
    private readonly byte[] devices = new byte[2 * DeviceBytes];

    private CopyCommands(BlockDevice source, BlockDevice destination)
    {
        target.TryAddLun(SourceLun, UnitOf(source, "source", 1));
        target.TryAddLun(TargetLun, UnitOf(destination, "target", 2));
        nexus = target.CreateNexus("iqn.2026-11.io.cowscsi:bench");
    }

    public static async Task<CopyCommands> BeginAsync(BlockDevice source, BlockDevice destination)
    {
        var commands = new CopyCommands(source, destination);
        for (var lun = SourceLun; lun <= TargetLun; lun++)
        {
            // Until the unit attentions of a new nexus are told.
            for (var i = 0; i < AttentionsMax; i++)
            {
                await commands.SendAsync(lun, TestUnitReady, 0).ConfigureAwait(false);
                if (commands.command.Status == ScsiStatus.Good)
                    break;
            }

            // INQUIRY of page 83h: its first designator is the CSCD descriptor.
            await commands.ExpectAsync(lun, [0x12, 0x01, 0x83, 0x02, 0, 0], 0).ConfigureAwait(false);
            var descriptor = commands.devices.AsSpan(lun * DeviceBytes, DeviceBytes);
            descriptor[0] = 0xE4;
            commands.input.Span.Slice(4, 4 + commands.input.Span[7]).CopyTo(descriptor[4..]);
        }

        return commands;
    }

    /// <summary>EXTENDED COPY(LID4) of as many segments as the length takes.</summary>
    public async ValueTask ExtendedCopyAsync(long from, long to, int lengthBytes)
    {
        var listBytes = WriteExtendedList(from, to, lengthBytes);
        await ExpectAsync(TargetLun, Cdb(0x83, 0x01, listBytes), listBytes).ConfigureAwait(false);
    }

    /// <summary>POPULATE TOKEN, RECEIVE ROD TOKEN INFORMATION, WRITE USING TOKEN: one range each.</summary>
    public async ValueTask TokenCopyAsync(long from, long to, int lengthBytes)
    {
        const int PopulateBytes = 32;
        const int WriteBytes = 552;
        output.Span[..WriteBytes].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(output.Span, PopulateBytes - 2);
        BinaryPrimitives.WriteUInt16BigEndian(output.Span[14..], 16);
        WriteRange(output.Span[16..], from, lengthBytes);
        await ExpectAsync(SourceLun, Cdb(0x83, 0x10, PopulateBytes, ListId), PopulateBytes).ConfigureAwait(false);
        await ExpectAsync(SourceLun, InformationCdb(), 0).ConfigureAwait(false);
        output.Span[..WriteBytes].Clear();
        BinaryPrimitives.WriteUInt16BigEndian(output.Span, WriteBytes - 2);
        output.Span[2] = 0x02; // DEL_TKN
        input.Span.Slice(TokenPlace, TokenBytes).CopyTo(output.Span[16..]);
        BinaryPrimitives.WriteUInt16BigEndian(output.Span[534..], 16);
        WriteRange(output.Span[536..], to, lengthBytes);
        await ExpectAsync(TargetLun, Cdb(0x83, 0x11, WriteBytes, ListId), WriteBytes).ConfigureAwait(false);
    }

    public async Task CloseAsync()
    {
        await target.RemoveNexusAsync(nexus).ConfigureAwait(false);
        foreach (var (_, unit) in target.Luns)
            await unit.CloseAsync().ConfigureAwait(false);
    }

    public void Dispose()
    {
        input.Dispose();
        output.Dispose();
    }

    private static LogicalUnit UnitOf(BlockDevice device, string name, byte number) =>
        new(device, LogicalUnitIdentity.FromDisk(new Guid(number, 0, 0, [1, 2, 3, 4, 5, 6, 7, number]), name), new LogicalUnitOptions());

    private static byte[] Cdb(byte opcode, byte serviceAction, int listBytes, uint listId = 0)
    {
        var cdb = new byte[16];
        cdb[0] = opcode;
        cdb[1] = serviceAction;
        BinaryPrimitives.WriteUInt32BigEndian(cdb.AsSpan(6), listId);
        BinaryPrimitives.WriteInt32BigEndian(cdb.AsSpan(10), listBytes);
        return cdb;
    }

    private static byte[] InformationCdb()
    {
        var cdb = Cdb(0x84, 0x07, BufferBytes);
        cdb.AsSpan(6, 4).Clear();
        BinaryPrimitives.WriteUInt32BigEndian(cdb.AsSpan(2), ListId);
        return cdb;
    }

    private static void WriteRange(Span<byte> place, long offsetBytes, int lengthBytes)
    {
        BinaryPrimitives.WriteInt64BigEndian(place, offsetBytes / BlockBytes);
        BinaryPrimitives.WriteInt32BigEndian(place[8..], lengthBytes / BlockBytes);
    }

    private int WriteExtendedList(long from, long to, int lengthBytes)
    {
        var segmentBytes = Math.Min(SegmentBytes, lengthBytes);
        var segments = lengthBytes / segmentBytes;
        var list = output.Span[..(Lid4HeaderBytes + devices.Length + (segments * SegmentDescriptorBytes))];
        list.Clear();
        list[0] = 0x01;
        list[1] = 0x03 << 3; // No list identifier.
        list[3] = 0x20;
        list[16] = 0xFF;
        BinaryPrimitives.WriteUInt16BigEndian(list[42..], (ushort)devices.Length);
        BinaryPrimitives.WriteUInt16BigEndian(list[44..], (ushort)(segments * SegmentDescriptorBytes));
        devices.CopyTo(list[Lid4HeaderBytes..]);
        for (var i = 0; i < segments; i++)
        {
            var segment = list[(Lid4HeaderBytes + devices.Length + (i * SegmentDescriptorBytes))..];
            segment[0] = 0x02;
            segment[3] = SegmentDescriptorBytes - 4;
            segment[5] = SourceLun;
            segment[7] = TargetLun;
            BinaryPrimitives.WriteUInt16BigEndian(segment[10..], (ushort)(segmentBytes / BlockBytes));
            BinaryPrimitives.WriteInt64BigEndian(segment[12..], (from + ((long)i * segmentBytes)) / BlockBytes);
            BinaryPrimitives.WriteInt64BigEndian(segment[20..], (to + ((long)i * segmentBytes)) / BlockBytes);
        }

        return list.Length;
    }

    private ValueTask SendAsync(int lun, ReadOnlySpan<byte> cdb, int dataOutBytes)
    {
        command.Reset(cdb);
        command.Lun = ScsiLun.FromNumber(lun);
        command.DataOut = output.Buffer.Slice(0, dataOutBytes);
        command.DataIn = dataOutBytes == 0 ? input.Buffer : default;
        return target.ExecuteAsync(nexus, command);
    }

    private async ValueTask ExpectAsync(int lun, byte[] cdb, int dataOutBytes)
    {
        await SendAsync(lun, cdb, dataOutBytes).ConfigureAwait(false);
        if (command.Status != ScsiStatus.Good)
            throw new BenchException($"command {cdb[0]:X2}/{cdb[1]:X2} ended with {command.Status}, sense {Convert.ToHexString(command.Sense)}");
    }
}
