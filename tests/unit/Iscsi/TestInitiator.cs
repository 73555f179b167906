using CowScsi.Engine;
using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using System.Text;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>A PDU as the initiator sees it. Fields are read and written by the byte offsets of RFC 7143, clause 11.</summary>
internal sealed class WirePdu
{
    public byte[] Header { get; } = new byte[48];

    public byte[] Ahs { get; set; } = [];

    public byte[] Data { get; set; } = [];

    public Opcode Opcode => (Opcode)(Header[0] & 0x3F);

    public byte Flags => Header[1];

    public uint Tag => this[16];

    public uint this[int offset]
    {
        get => BinaryPrimitives.ReadUInt32BigEndian(Header.AsSpan(offset));
        set => BinaryPrimitives.WriteUInt32BigEndian(Header.AsSpan(offset), value);
    }
}

/// <summary>
/// An initiator on a blocking socket that does what a test tells it, right or wrong. Every wait is bounded by the socket's time limit.
/// </summary>
internal sealed class TestInitiator : IDisposable
{
    public const string Name = "iqn.2026-01.test.cowscsi:initiator";

    /// <summary>Of the test target.</summary>
    public const string TargetName = "iqn.2026-01.test.cowscsi:disk";
    private const int TimeLimitMilliseconds = 20_000;

    private readonly Socket socket;

    /// <param name="timeLimitMilliseconds">Bound of each wait for the target.</param>
    /// <param name="from">The address to connect from; null leaves it to the system.</param>
    public TestInitiator(IPEndPoint portal, int timeLimitMilliseconds = TimeLimitMilliseconds, IPAddress? from = null)
    {
        socket = new Socket(portal.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
            ReceiveTimeout = timeLimitMilliseconds,
            SendTimeout = timeLimitMilliseconds,
        };
        if (from is not null)
            socket.Bind(new IPEndPoint(from, 0));
        socket.Connect(portal);
    }

    public Socket Socket => socket;

    public bool HasHeaderDigest { get; set; }

    public bool HasDataDigest { get; set; }

    /// <summary>Makes the next data digest that is sent a wrong one.</summary>
    public bool SpoilDataDigest { get; set; }

    public bool SpoilHeaderDigest { get; set; }

    public byte[] Isid { get; set; } = [0x80, 0, 0, 0, 0, 1];

    public uint CmdSN { get; set; } = 100;

    public uint ExpStatSN { get; set; }

    public ushort Tsih { get; private set; }

    /// <summary>The session that a login adds its connection to; 0 for a new one.</summary>
    public ushort JoinedTsih { get; init; }

    public ushort ConnectionId { get; init; }

    /// <summary>Logical unit of the commands, peripheral device addressing.</summary>
    public byte Lun { get; init; }

    private uint nextTag = 1;

    public void Dispose() => socket.Dispose();

    public static WirePdu Pdu(Opcode opcode, byte flags, uint tag)
    {
        var pdu = new WirePdu();
        pdu.Header[0] = (byte)opcode;
        pdu.Header[1] = flags;
        pdu[16] = tag;
        return pdu;
    }

    public uint NewTag() => nextTag++;

    public void Send(WirePdu pdu)
    {
        pdu.Header[4] = (byte)(pdu.Ahs.Length / 4);
        pdu.Header[5] = (byte)(pdu.Data.Length >> 16);
        pdu.Header[6] = (byte)(pdu.Data.Length >> 8);
        pdu.Header[7] = (byte)pdu.Data.Length;
        List<byte> wire = [.. pdu.Header, .. pdu.Ahs];
        if (HasHeaderDigest)
            wire.AddRange(Digest([.. wire], SpoilHeaderDigest));
        if (pdu.Data.Length > 0)
        {
            byte[] padded = [.. pdu.Data, .. new byte[-pdu.Data.Length & 3]];
            wire.AddRange(padded);
            if (HasDataDigest)
                wire.AddRange(Digest(padded, SpoilDataDigest));
        }

        SpoilDataDigest = false;
        SpoilHeaderDigest = false;
        SendRaw([.. wire]);
    }

    public void SendRaw(byte[] bytes)
    {
        for (var sent = 0; sent < bytes.Length;)
            sent += socket.Send(bytes, sent, bytes.Length - sent, SocketFlags.None);
    }

    public WirePdu Receive()
    {
        var pdu = new WirePdu();
        ReadExactly(pdu.Header);
        Assert.Equal(0, pdu.Header[4]);
        if (HasHeaderDigest)
            AssertDigest(pdu.Header);
        var length = (pdu.Header[5] << 16) | (pdu.Header[6] << 8) | pdu.Header[7];
        if (length > 0)
        {
            var padded = new byte[length + (-length & 3)];
            ReadExactly(padded);
            if (HasDataDigest)
                AssertDigest(padded);
            pdu.Data = padded[..length];
        }

        return pdu;
    }

    /// <summary>Receives; null where the target has ended the connection, be it in the middle of a PDU.</summary>
    public WirePdu? ReceiveOrEnd()
    {
        try
        {
            return Receive();
        }
        catch (EndOfStreamException)
        {
            return null;
        }
        catch (SocketException error) when (error.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
        {
            return null;
        }
    }

    /// <summary>Receives, and checks that it is this kind of PDU.</summary>
    public WirePdu Receive(Opcode expected)
    {
        var pdu = Receive();
        Assert.Equal(expected, pdu.Opcode);
        return pdu;
    }

    /// <summary>Reads until the target ends the connection; returns what came before.</summary>
    public List<Opcode> ReceiveToEnd()
    {
        List<Opcode> seen = [];
        var header = new byte[48];
        try
        {
            while (true)
            {
                var got = 0;
                while (got < header.Length)
                {
                    var read = socket.Receive(header, got, header.Length - got, SocketFlags.None);
                    if (read == 0)
                        return seen;
                    got += read;
                }

                seen.Add((Opcode)(header[0] & 0x3F));
                var length = (header[5] << 16) | (header[6] << 8) | header[7];
                ReadExactly(new byte[length + (-length & 3) + (length > 0 && HasDataDigest ? 4 : 0) + (HasHeaderDigest ? 4 : 0)]);
            }
        }
        catch (SocketException error) when (error.SocketErrorCode is SocketError.ConnectionReset or SocketError.ConnectionAborted)
        {
            return seen;
        }
    }

    /// <summary>Reads until the target ends its side, then ends ours, as an initiator does.</summary>
    public List<Opcode> ReceiveToEndAndClose()
    {
        var seen = ReceiveToEnd();
        socket.Close();
        return seen;
    }

    public WirePdu LoginRequest(byte flags, params string[] keys)
    {
        var pdu = Pdu(Opcode.LoginRequest, flags, 0);
        pdu.Header[0] |= 0x40;
        Isid.CopyTo(pdu.Header, 8);
        pdu.Header[14] = (byte)(JoinedTsih >> 8);
        pdu.Header[15] = (byte)JoinedTsih;
        pdu[20] = (uint)ConnectionId << 16;
        pdu[24] = CmdSN;
        pdu[28] = ExpStatSN;
        pdu.Data = Text(keys);
        return pdu;
    }

    public WirePdu ExchangeLogin(byte flags, params string[] keys)
    {
        Send(LoginRequest(flags, keys));
        var answer = Receive(Opcode.LoginResponse);
        Tsih = (ushort)(answer[12] & 0xFFFF);
        ExpStatSN = answer[24] + 1;
        return answer;
    }

    /// <summary>Logs in to the test target in one step of the operational stage; the answer's keys come back.</summary>
    public Dictionary<string, string> Login(params string[] keys) =>
        LoginAs(["InitiatorName=" + Name, "TargetName=" + TargetName, .. keys]);

    public Dictionary<string, string> LoginAs(params string[] keys)
    {
        var answer = ExchangeLogin(0x87, keys);
        Assert.Equal(0, StatusOf(answer));
        Assert.Equal(0x87, answer.Flags);
        var pairs = Pairs(answer.Data);
        HasHeaderDigest = pairs.GetValueOrDefault("HeaderDigest") == "CRC32C";
        HasDataDigest = pairs.GetValueOrDefault("DataDigest") == "CRC32C";
        return pairs;
    }

    /// <summary>The whole answer to a SendTargets request, over all its parts.</summary>
    public string SendTargets(string value)
    {
        List<byte> text = [];
        var transferTag = PduField.NoTag;
        var data = Text("SendTargets=" + value);
        while (true)
        {
            var request = Pdu(Opcode.TextRequest, 0x80, 77);
            request[20] = transferTag;
            request[24] = CmdSN++;
            request.Data = data;
            Send(request);
            var answer = Receive(Opcode.TextResponse);
            text.AddRange(answer.Data);
            if ((answer.Flags & 0x80) != 0)
                return Encoding.UTF8.GetString([.. text]);
            transferTag = answer[20];
            data = [];
        }
    }

    public static int StatusOf(WirePdu loginResponse) => (int)(loginResponse[36] >> 16);

    public static byte[] Text(params string[] keys) => Encoding.UTF8.GetBytes(string.Concat(keys.Select(static key => key + "\0")));

    public static Dictionary<string, string> Pairs(byte[] text) =>
        Encoding.UTF8.GetString(text).Split('\0', StringSplitOptions.RemoveEmptyEntries)
            .Select(static item => item.Split('=', 2))
            .ToDictionary(static item => item[0], static item => item[1], StringComparer.Ordinal);

    /// <summary>Sends a SCSI command; returns its task tag.</summary>
    public uint Command(byte flags, uint expectedBytes, byte[] cdb, byte[]? immediate = null, bool isImmediate = false, uint? tag = null)
    {
        var pdu = Pdu(Opcode.ScsiCommand, flags, tag ?? NewTag());
        if (isImmediate)
            pdu.Header[0] |= 0x40;
        pdu.Header[9] = Lun;
        pdu[20] = expectedBytes;
        pdu[24] = isImmediate ? CmdSN : CmdSN++;
        pdu[28] = ExpStatSN;
        cdb.CopyTo(pdu.Header, 32);
        pdu.Data = immediate ?? [];
        Send(pdu);
        return pdu.Tag;
    }

    public void DataOut(uint tag, uint transferTag, uint dataSN, int offset, byte[] data, bool isFinal)
    {
        var pdu = Pdu(Opcode.DataOut, isFinal ? (byte)0x80 : (byte)0, tag);
        pdu[20] = transferTag;
        pdu[28] = ExpStatSN;
        pdu[36] = dataSN;
        pdu[40] = (uint)offset;
        pdu.Data = data;
        Send(pdu);
    }

    public WirePdu ReceiveStatus(ScsiStatusByte expected)
    {
        var pdu = Receive();
        var hasStatus = pdu.Opcode == Opcode.ScsiResponse || (pdu.Opcode == Opcode.DataIn && (pdu.Flags & 1) != 0);
        Assert.True(hasStatus, $"{pdu.Opcode} has no status");
        Assert.Equal((byte)expected, pdu.Header[3]);
        return pdu;
    }

    /// <summary>TEST UNIT READY until it is GOOD.</summary>
    public void ClearUnitAttentions()
    {
        for (var attempt = 0; attempt < 8; attempt++)
        {
            Command(0x80, 0, new byte[6]);
            if (Receive(Opcode.ScsiResponse).Header[3] == 0)
                return;
        }

        Assert.Fail("unit attentions without end");
    }

    /// <summary>Reads, and returns the bytes; the command must end GOOD.</summary>
    public byte[] Read(int lba, int blocks, out List<WirePdu> pdus)
    {
        Command(0xC0, (uint)blocks * 512, Read10(lba, blocks));
        pdus = [];
        List<byte> data = [];
        while (true)
        {
            var pdu = Receive(Opcode.DataIn);
            pdus.Add(pdu);
            data.AddRange(pdu.Data);
            if ((pdu.Flags & 1) == 0)
                continue;
            Assert.Equal(0, pdu.Header[3]);
            return [.. data];
        }
    }

    public static byte[] Read10(int lba, int blocks) => Cdb10(0x28, lba, blocks);

    public static byte[] Write10(int lba, int blocks) => Cdb10(0x2A, lba, blocks);

    public static byte[] Pattern(int length, int seed)
    {
        var bytes = new byte[length];
        new Random(seed).NextBytes(bytes);
        return bytes;
    }

    private static byte[] Cdb10(byte opcode, int lba, int blocks) =>
        [opcode, 0, (byte)(lba >> 24), (byte)(lba >> 16), (byte)(lba >> 8), (byte)lba, 0, (byte)(blocks >> 8), (byte)blocks, 0];

    private static byte[] Digest(byte[] covered, bool isSpoiled)
    {
        var bytes = new byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, Crc32C.Of(covered) ^ (isSpoiled ? 1u : 0));
        return bytes;
    }

    private void AssertDigest(byte[] covered)
    {
        var digest = new byte[4];
        ReadExactly(digest);
        Assert.Equal(Crc32C.Of(covered), BinaryPrimitives.ReadUInt32LittleEndian(digest));
    }

    private void ReadExactly(byte[] buffer)
    {
        for (var got = 0; got < buffer.Length;)
        {
            var read = socket.Receive(buffer, got, buffer.Length - got, SocketFlags.None);
            if (read == 0)
                throw new EndOfStreamException("the target closed the connection");
            got += read;
        }
    }
}

/// <summary>The status bytes that these tests expect, SAM-5 5.3.1.</summary>
internal enum ScsiStatusByte : byte
{
    Good = 0x00,
    CheckCondition = 0x02,
    TaskSetFull = 0x28,
}
