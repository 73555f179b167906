using System.Buffers.Binary;
using System.Text;
using CowScsi.Engine;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Draws PDUs of the full feature phase: each begins as one that fits the state of its connection, and most are then bent in one or more
/// fields - lengths, additional headers, sequence numbers, tags in use, transfer tags, offsets, flags, digests.
/// </summary>
internal sealed class PduGrammar(Random random)
{
    private const int TagsMax = 16;
    private const int DataBytesMax = 24 * 1024;

    private static readonly byte[] Opcodes10 = [0x28, 0x2A, 0x28, 0x2A, 0x28, 0x2A, 0x2F, 0x35, 0x41, 0x42, 0x25, 0x55, 0x5A];

    /// <summary>One PDU as bytes for the wire; its end may be missing.</summary>
    public byte[] Draw(HostileConnection connection)
    {
        var header = new byte[PduField.HeaderBytes];
        byte[] data = [];
        byte[] ahs = [];
        switch (random.Next(120))
        {
            case < 40 when connection.Solicited.Count > 0:
            case < 1:
                data = DataOut(connection, header);
                break;
            case < 84:
                data = Command(connection, header, out ahs);
                break;
            case < 98:
                data = Nop(connection, header);
                break;
            case < 108:
                Manage(connection, header);
                break;
            case < 114:
                data = TextRequest(connection, header);
                break;
            case < 116:
                Logout(connection, header);
                break;
            case < 119:
                Begin(header, Opcode.SnackRequest, (byte)(0x80 | random.Next(4)), Tag(connection), connection);
                break;
            default:
                data = Bytes(random.Next(200));
                Begin(header, (Opcode)random.Next(64), (byte)random.Next(256), Tag(connection), connection);
                break;
        }

        return Frame(connection, header, ahs, data);
    }

    /// <summary>A ping whose answer tells that all before it was handled.</summary>
    public byte[] Mark(HostileConnection connection)
    {
        var header = new byte[PduField.HeaderBytes];
        header[0] = (byte)Opcode.NopOut | PduField.ImmediateBit;
        header[1] = PduField.FinalBit;
        Put(header, PduField.InitiatorTaskTag, connection.NextMark());
        Put(header, PduField.TargetTransferTag, PduField.NoTag);
        Put(header, PduField.CmdSN, connection.Session.CmdSN);
        Put(header, PduField.ExpStatSN, connection.ExpStatSN);
        return connection.HasHeaderDigest ? [.. header, .. Digest(header, isWrong: false)] : header;
    }

    private bool OneIn(int n) => random.Next(n) == 0;

    private byte[] Bytes(int length)
    {
        var bytes = new byte[length];
        random.NextBytes(bytes);
        return bytes;
    }

    private static void Put(byte[] header, int at, uint value) => BinaryPrimitives.WriteUInt32BigEndian(header.AsSpan(at), value);

    private uint Tag(HostileConnection connection)
    {
        var tags = connection.Session.Tags;
        if (OneIn(64))
            return PduField.NoTag;
        if (tags.Count > 0 && OneIn(6))
            return tags[random.Next(tags.Count)];
        var tag = (uint)random.Next(1, 1 << 20);
        if (tags.Count == TagsMax)
            tags.RemoveAt(0);
        tags.Add(tag);
        return tag;
    }

    private uint CmdSN(HostileConnection connection, bool isImmediate) => random.Next(24) switch
    {
        0 => connection.Session.CmdSN - (uint)random.Next(1, 300),
        1 => connection.Session.CmdSN + (uint)random.Next(1, 300),
        2 => (uint)random.NextInt64(0, uint.MaxValue),
        3 => connection.Session.CmdSN + 0x8000_0000,
        // Where a number was lost for good, all that comes behind it waits; so the initiator goes back there.
        < 7 => connection.Session.CmdSN = connection.Session.ExpCmdSN,
        _ => isImmediate ? connection.Session.CmdSN : connection.Session.CmdSN++,
    };

    private void Begin(byte[] header, Opcode opcode, byte flags, uint tag, HostileConnection connection)
    {
        header[0] = (byte)opcode;
        header[1] = flags;
        var isImmediate = OneIn(4);
        if (isImmediate)
            header[0] |= PduField.ImmediateBit;
        Put(header, PduField.InitiatorTaskTag, tag);
        if (opcode is not (Opcode.DataOut or Opcode.SnackRequest))
            Put(header, PduField.CmdSN, CmdSN(connection, isImmediate));
        Put(header, PduField.ExpStatSN, OneIn(8) ? (uint)random.Next() : connection.ExpStatSN);
        if (OneIn(10))
            header[9] = (byte)random.Next(3);
    }

    private byte[] Command(HostileConnection connection, byte[] header, out byte[] ahs)
    {
        var cdb = Opcodes10[random.Next(Opcodes10.Length)];
        var blocks = random.Next(48);
        var isWrite = cdb is 0x2A or 0x41 or 0x42 or 0x55;
        var expected = OneIn(10) ? (uint)random.Next(100_000) : OneIn(200) ? uint.MaxValue : (uint)blocks * 512;
        var immediate = !isWrite || OneIn(2) ? 0 : Math.Min(random.Next(20_000), (int)Math.Min(expected, DataBytesMax));
        var flags = (byte)((OneIn(2) ? 0x80 : 0) | (OneIn(12) ? random.Next(0x80) : isWrite ? 0x20 : 0x40) | random.Next(5));
        if (isWrite && immediate >= expected)
            flags |= 0x80;
        Begin(header, Opcode.ScsiCommand, flags, Tag(connection), connection);
        Put(header, PduField.ExpectedDataTransferLength, expected);
        header[PduField.Cdb] = OneIn(30) ? (byte)random.Next(256) : cdb;
        Put(header, PduField.Cdb + 2, (uint)random.Next(OneIn(10) ? 10_000 : 2000));
        BinaryPrimitives.WriteUInt16BigEndian(header.AsSpan(PduField.Cdb + 7), (ushort)blocks);
        ahs = OneIn(12) ? AdditionalHeaders() : [];
        return Bytes(OneIn(80) ? random.Next(DataBytesMax) : immediate);
    }

    /// <summary>Additional header segments, right (extended CDB, bidirectional length) and wrong.</summary>
    private byte[] AdditionalHeaders()
    {
        List<byte> all = [];
        for (var left = random.Next(1, 4); left > 0; left--)
        {
            var length = OneIn(3) ? random.Next(0x10000) : OneIn(2) ? 17 : 5;
            all.Add((byte)(length >> 8));
            all.Add((byte)length);
            all.Add((byte)(OneIn(4) ? random.Next(256) : random.Next(1, 3)));
            all.AddRange(Bytes(Math.Min(length, 64)));
            all.AddRange(new byte[PduField.Padding(all.Count)]);
        }

        return [.. all];
    }

    private byte[] DataOut(HostileConnection connection, byte[] header)
    {
        if (connection.Solicited.Count == 0)
        {
            // Unsolicited data, or an answer to nothing.
            Begin(header, Opcode.DataOut, (byte)(OneIn(2) ? 0x80 : 0), Tag(connection), connection);
            Put(header, PduField.TargetTransferTag, OneIn(4) ? (uint)random.Next() : PduField.NoTag);
            Put(header, PduField.DataSN, (uint)random.Next(3));
            Put(header, PduField.BufferOffset, (uint)random.Next(3) * 512);
            return Bytes(random.Next(2048));
        }

        var at = OneIn(8) ? random.Next(connection.Solicited.Count) : 0;
        var wanted = connection.Solicited[at];
        connection.Solicited.RemoveAt(at);
        var length = (int)Math.Min(wanted.Length, 256 * 1024);
        if (OneIn(24))
            length = random.Next(length + 600);
        Begin(header, Opcode.DataOut, (byte)(OneIn(40) ? 0 : 0x80), OneIn(60) ? Tag(connection) : wanted.TaskTag, connection);
        Put(header, PduField.TargetTransferTag, OneIn(60) ? wanted.TransferTag + (uint)random.Next(1, 3) : wanted.TransferTag);
        Put(header, PduField.DataSN, OneIn(16) ? (uint)random.Next(4) : 0);
        Put(header, PduField.BufferOffset, OneIn(60) ? wanted.Offset + (uint)random.Next(-1024, 1024) : wanted.Offset);
        return Bytes(length);
    }

    private byte[] Nop(HostileConnection connection, byte[] header)
    {
        var isAnswer = connection.Pings.Count > 0;
        Begin(header, Opcode.NopOut, 0x80, isAnswer ? PduField.NoTag : Tag(connection), connection);
        header[0] |= (byte)(isAnswer ? PduField.ImmediateBit : 0);
        Put(header, PduField.TargetTransferTag, isAnswer ? connection.Pings[^1] : OneIn(4) ? (uint)random.Next() : PduField.NoTag);
        connection.Pings.Clear();
        return Bytes(OneIn(3) ? random.Next(DataBytesMax) : 0);
    }

    private void Manage(HostileConnection connection, byte[] header)
    {
        // Abort task is the one that meets a task most often.
        var function = OneIn(2) ? 1 : OneIn(40) ? random.Next(128) : random.Next(2, 12);
        if (function == (int)WireFunction.TargetColdReset && !OneIn(8))
            function = (int)WireFunction.LogicalUnitReset;
        Begin(header, Opcode.TaskManagementRequest, (byte)(0x80 | function), Tag(connection), connection);
        var tags = connection.Session.Tags;
        Put(header, PduField.ReferencedTaskTag, OneIn(4) || tags.Count == 0 ? (uint)random.Next() : tags[random.Next(tags.Count)]);
        Put(header, PduField.RefCmdSN, connection.Session.CmdSN - (uint)random.Next(-4, 8));
    }

    private byte[] TextRequest(HostileConnection connection, byte[] header)
    {
        Begin(header, Opcode.TextRequest, (byte)(OneIn(3) ? random.Next(256) : 0x80), Tag(connection), connection);
        Put(header, PduField.TargetTransferTag, OneIn(3) ? (uint)random.Next(3) : PduField.NoTag);
        var text = LoginGrammar.Keys(random, OneIn(2) ? ["SendTargets=", "SendTargets=All"] : []);
        // Declared anew: from here on longer segments may come.
        if (text.Contains("MaxRecvDataSegmentLength", StringComparison.Ordinal))
            connection.DataBytesMax = int.MaxValue;
        return Encoding.UTF8.GetBytes(text);
    }

    private void Logout(HostileConnection connection, byte[] header)
    {
        // Mostly not the end of everything: refused reasons, and other connections.
        var reason = OneIn(6) ? 0 : OneIn(3) ? random.Next(128) : random.Next(1, 3);
        Begin(header, Opcode.LogoutRequest, (byte)(0x80 | reason), Tag(connection), connection);
        Put(header, PduField.ConnectionId, (uint)random.Next(8) << 16);
    }

    /// <summary>Lengths, padding and digests; then, now and then, a fault that goes through all of it.</summary>
    private byte[] Frame(HostileConnection connection, byte[] header, byte[] ahs, byte[] data)
    {
        if (OneIn(40))
            header[random.Next(header.Length)] ^= (byte)(1 << random.Next(8));
        var isLengthWrong = OneIn(400);
        header[4] = (byte)(ahs.Length / 4);
        var announced = isLengthWrong ? random.Next(1 << 24) : data.Length;
        (header[5], header[6], header[7]) = ((byte)(announced >> 16), (byte)(announced >> 8), (byte)announced);
        if (isLengthWrong)
            header[4] = (byte)random.Next(256);
        List<byte> wire = [.. header, .. ahs[..(ahs.Length / 4 * 4)]];
        if (connection.HasHeaderDigest)
            wire.AddRange(Digest([.. wire], OneIn(400)));
        if (data.Length > 0)
        {
            byte[] padded = [.. data, .. new byte[PduField.Padding(data.Length)]];
            wire.AddRange(padded);
            if (connection.HasDataDigest)
                wire.AddRange(Digest(padded, OneIn(20)));
        }

        return OneIn(400) ? [.. wire[..random.Next(wire.Count)]] : [.. wire];
    }

    private static byte[] Digest(byte[] covered, bool isWrong)
    {
        var bytes = new byte[PduField.DigestBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(covered) ^ (isWrong ? 1u : 0));
        return bytes;
    }
}
