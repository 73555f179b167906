using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using System.Text;

namespace CowScsi.Bench.Iscsi;

/// <summary>One session of one connection that keeps a number of commands outstanding, on a thread of its own.</summary>
internal sealed class LoadSession : IDisposable
{
    private const byte Immediate = 0x40;
    private const byte ScsiCommand = 0x01;
    private const byte LoginRequest = 0x03;
    private const byte DataOut = 0x05;
    private const byte NopIn = 0x20;
    private const byte ScsiResponse = 0x21;
    private const byte LoginResponse = 0x23;
    private const byte DataIn = 0x25;
    private const byte ReadyToTransfer = 0x31;
    private const byte FinalFlag = 0x80;
    private const byte ReadFlag = 0x40;
    private const byte WriteFlag = 0x20;
    private const byte SimpleTask = 1;
    private const byte StatusFlag = 1;
    private const uint NoTag = uint.MaxValue;
    private const int SegmentBytesMax = 256 << 10;
    private const int DataAttemptsMax = 8;

    /// <summary>The length field and fixed-format sense data up to its codes.</summary>
    private const int SenseBytesShown = 16;

    private readonly LoadOptions options;
    private readonly LoadWire wire;
    private readonly byte[] payload;
    private readonly Random random;
    private readonly int number;
    private uint cmdSN = 1;
    private uint expStatSN;
    private int targetSegmentBytes = 8192;
    private int immediateBytes;
    private uint blockCount;
    private uint next;

    public LoadSession(LoadOptions options, int number)
    {
        this.options = options;
        this.number = number;
        random = new Random(number);
        payload = new byte[options.BlockBytes];
        random.NextBytes(payload);
        wire = new LoadWire(options.Portal);
        Login();
        ReadCapacity();
        // Sequential sessions do not follow in each other's steps.
        next = (uint)(blockCount / (uint)options.Sessions * (uint)number);
    }

    /// <summary>Commands that ended GOOD.</summary>
    public long Completed { get; private set; }

    public void Run(long deadline)
    {
        for (uint tag = 0; tag < options.Depth; tag++)
            Issue(tag);
        wire.Flush();
        var outstanding = options.Depth;
        while (outstanding > 0)
        {
            var isOver = Stopwatch.GetTimestamp() >= deadline;
            do
            {
                if (!TakeOne(out var tag))
                    continue;
                Completed++;
                if (isOver)
                    outstanding--;
                else
                    Issue(tag);
            }
            while (outstanding > 0 && wire.HasMore);
            wire.Flush();
        }
    }

    public void Dispose() => wire.Dispose();

    /// <summary>Takes one PDU; true where it ended a command.</summary>
    private bool TakeOne(out uint tag)
    {
        var header = wire.Take(out var data);
        tag = BinaryPrimitives.ReadUInt32BigEndian(header[16..]);
        switch (header[0] & 0x3F)
        {
            case DataIn when (header[1] & StatusFlag) == 0:
                return false;
            case DataIn:
            case ScsiResponse:
                if (header[3] != 0)
                    throw new BenchException($"a command ended with status {header[3]:X2}h {Convert.ToHexString(data[..Math.Min(data.Length, SenseBytesShown)])}");
                expStatSN = BinaryPrimitives.ReadUInt32BigEndian(header[24..]) + 1;
                return true;
            case ReadyToTransfer:
                SendData(header);
                return false;
            case NopIn:
                return false;
            default:
                throw new BenchException($"a PDU of opcode {header[0] & 0x3F:X2}h");
        }
    }

    private void Issue(uint tag)
    {
        var places = (blockCount - (uint)(options.ShiftBytes / 512)) / (uint)(options.BlockBytes / 512);
        var place = options.IsSequential ? next++ % places : (uint)random.NextInt64(places);
        Span<byte> cdb = stackalloc byte[10];
        cdb.Clear();
        cdb[0] = (byte)(options.IsWrite ? 0x2A : 0x28);
        BinaryPrimitives.WriteUInt32BigEndian(cdb[2..], (place * (uint)(options.BlockBytes / 512)) + (uint)(options.ShiftBytes / 512));
        BinaryPrimitives.WriteUInt16BigEndian(cdb[7..], (ushort)(options.BlockBytes / 512));
        Send(tag, cdb, options.IsWrite ? WriteFlag : ReadFlag, options.BlockBytes, options.IsWrite ? immediateBytes : 0);
    }

    private void Send(uint tag, ReadOnlySpan<byte> cdb, byte direction, int expectedBytes, int dataLength)
    {
        var pdu = wire.Open(dataLength);
        pdu[0] = ScsiCommand;
        pdu[1] = (byte)(FinalFlag | direction | SimpleTask);
        pdu[9] = options.Lun;
        BinaryPrimitives.WriteUInt32BigEndian(pdu[16..], tag);
        BinaryPrimitives.WriteInt32BigEndian(pdu[20..], expectedBytes);
        BinaryPrimitives.WriteUInt32BigEndian(pdu[24..], cmdSN++);
        BinaryPrimitives.WriteUInt32BigEndian(pdu[28..], expStatSN);
        cdb.CopyTo(pdu[32..]);
        payload.AsSpan(0, dataLength).CopyTo(wire.DataOf(pdu, dataLength));
        wire.Seal(pdu, dataLength);
    }

    private void SendData(ReadOnlySpan<byte> request)
    {
        var offset = BinaryPrimitives.ReadInt32BigEndian(request[40..]);
        var end = offset + BinaryPrimitives.ReadInt32BigEndian(request[44..]);
        if (offset < 0 || end > options.BlockBytes)
            throw new BenchException("the target asks for data that the command does not have");
        for (uint dataSN = 0; offset < end; dataSN++)
        {
            var length = Math.Min(end - offset, targetSegmentBytes);
            var pdu = wire.Open(length);
            pdu[0] = DataOut;
            pdu[1] = offset + length == end ? FinalFlag : (byte)0;
            pdu[9] = options.Lun;
            request.Slice(16, 8).CopyTo(pdu[16..]);
            BinaryPrimitives.WriteUInt32BigEndian(pdu[28..], expStatSN);
            BinaryPrimitives.WriteUInt32BigEndian(pdu[36..], dataSN);
            BinaryPrimitives.WriteInt32BigEndian(pdu[40..], offset);
            payload.AsSpan(offset, length).CopyTo(wire.DataOf(pdu, length));
            wire.Seal(pdu, length);
            offset += length;
        }
    }

    private void Login()
    {
        var digest = options.WithDigests ? "CRC32C" : "None";
        var text = Encoding.UTF8.GetBytes(string.Join('\0',
            "InitiatorName=iqn.2026-11.io.cowscsi:bench", "SessionType=Normal", "TargetName=" + options.Target, "HeaderDigest=" + digest,
            "DataDigest=" + digest, "ErrorRecoveryLevel=0", "InitialR2T=No", "ImmediateData=Yes", "MaxBurstLength=1048576",
            $"FirstBurstLength={SegmentBytesMax}", $"MaxRecvDataSegmentLength={SegmentBytesMax}", "MaxOutstandingR2T=8", "DefaultTime2Wait=2",
            "DefaultTime2Retain=0", "MaxConnections=1", "DataPDUInOrder=Yes", "DataSequenceInOrder=Yes") + "\0");
        var pdu = wire.Open(text.Length);
        pdu[0] = LoginRequest | Immediate;
        pdu[1] = 0x87; // Transit from the operational stage to the full feature phase.
        pdu[8] = 0x80;
        pdu[13] = (byte)(number + 1);
        BinaryPrimitives.WriteUInt32BigEndian(pdu[24..], cmdSN);
        text.CopyTo(wire.DataOf(pdu, text.Length));
        wire.Flush();

        var header = wire.Take(out var data);
        if (header[0] != LoginResponse || header[36] != 0 || (header[1] & FinalFlag) == 0)
            throw new BenchException($"the login is refused: status {header[36]:X2}{header[37]:X2}h");
        expStatSN = BinaryPrimitives.ReadUInt32BigEndian(header[24..]) + 1;
        var keys = Encoding.UTF8.GetString(data).Split('\0', StringSplitOptions.RemoveEmptyEntries)
            .Select(static pair => pair.Split('=', 2)).ToDictionary(static pair => pair[0], static pair => pair[1], StringComparer.Ordinal);
        wire.HasHeaderDigest = keys.GetValueOrDefault("HeaderDigest") == "CRC32C";
        wire.HasDataDigest = keys.GetValueOrDefault("DataDigest") == "CRC32C";
        if (options.WithDigests && !(wire.HasHeaderDigest && wire.HasDataDigest))
            throw new BenchException("the target takes no digests");
        if (keys.TryGetValue("MaxRecvDataSegmentLength", out var segment))
            targetSegmentBytes = Math.Min(SegmentBytesMax, int.Parse(segment, CultureInfo.InvariantCulture));
        var firstBurst = keys.TryGetValue("FirstBurstLength", out var first) ? int.Parse(first, CultureInfo.InvariantCulture) : SegmentBytesMax;
        immediateBytes = keys.GetValueOrDefault("ImmediateData") == "No" ? 0 : Math.Min(options.BlockBytes, Math.Min(firstBurst, targetSegmentBytes));
    }

    private void ReadCapacity()
    {
        // READ CAPACITY(10); unit attentions come first.
        Span<byte> cdb = stackalloc byte[10];
        cdb.Clear();
        cdb[0] = 0x25;
        for (var attempt = 0; attempt < DataAttemptsMax; attempt++)
        {
            Send(NoTag - 1, cdb, ReadFlag, 8, 0);
            wire.Flush();
            // Data may come in front of a status that says it is none.
            uint last = 0;
            var header = wire.Take(out var data);
            if (header[0] == DataIn)
                last = BinaryPrimitives.ReadUInt32BigEndian(data);
            if (header[0] == DataIn && (header[1] & StatusFlag) == 0)
                header = wire.Take(out _);
            expStatSN = BinaryPrimitives.ReadUInt32BigEndian(header[24..]) + 1;
            blockCount = last + 1;
            if (header[3] == 0 && last != 0)
                return;
        }

        throw new BenchException("the capacity cannot be read");
    }
}
