using System.Buffers.Binary;
using System.Net;
using System.Net.Sockets;
using CowScsi.Engine;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Tests.Fuzz;

/// <summary>Write data that the target has asked for.</summary>
internal readonly record struct Solicitation(uint TaskTag, uint TransferTag, uint Offset, uint Length);

/// <summary>What the connections of one session have in common on the initiator's side.</summary>
internal sealed class HostileSession(byte isid)
{
    public byte Isid => isid;

    public uint CmdSN { get; set; } = 1;

    /// <summary>What the target expects, as far as it has told.</summary>
    public uint ExpCmdSN { get; set; } = 1;

    public ushort Tsih { get; set; }

    /// <summary>Tags used lately, to be used again while they may be outstanding.</summary>
    public List<uint> Tags { get; } = [];
}

/// <summary>
/// A connection that sends whatever it is told, and checks all that comes back: each PDU of the target is well formed, within the declared
/// length, with right digests, and its StatSN is the next one.
/// </summary>
internal sealed class HostileConnection : IDisposable
{
    private const int HeaderBytes = PduField.HeaderBytes;
    private const int LoginDataBytesMax = 8192;
    private const int SendLimitMilliseconds = 5000;
    private const int SolicitationsMax = 64;

    private readonly Socket socket;
    private byte[] received = new byte[64 * 1024];
    private int receivedBytes;
    private uint? expStatSN;
    private uint mark = 0x7000_0000;
    private bool wantsHeaderDigest;
    private bool wantsDataDigest;

    public HostileConnection(IPEndPoint portal, HostileSession session, ushort connectionId)
    {
        Session = session;
        ConnectionId = connectionId;
        socket = new Socket(portal.AddressFamily, SocketType.Stream, ProtocolType.Tcp) { NoDelay = true, SendTimeout = SendLimitMilliseconds };
        socket.Connect(portal);
    }

    public HostileSession Session { get; }

    public ushort ConnectionId { get; }

    public bool HasHeaderDigest { get; private set; }

    public bool HasDataDigest { get; private set; }

    public int DataBytesMax { get; set; } = LoginDataBytesMax;

    public bool IsLoggedIn { get; private set; }

    public bool IsEnded { get; private set; }

    public uint ExpStatSN => expStatSN ?? 0;

    public List<Solicitation> Solicited { get; } = [];

    /// <summary>Pings of the target that wait for their answer.</summary>
    public List<uint> Pings { get; } = [];

    /// <summary>PDUs of the target so far.</summary>
    public long Answers { get; private set; }

    /// <summary>The answer to the last mark has come.</summary>
    public bool IsMarked { get; private set; }

    public void Dispose() => socket.Dispose();

    /// <summary>Notes what the login asks for; the answer settles it.</summary>
    public void Offer(bool headerDigest, bool dataDigest)
    {
        wantsHeaderDigest = headerDigest;
        wantsDataDigest = dataDigest;
    }

    /// <summary>Ends without a word: a reset instead of an orderly end.</summary>
    public void Abort()
    {
        socket.LingerState = new LingerOption(enable: true, seconds: 0);
        socket.Dispose();
    }

    /// <summary>Task tag of a new mark: a NOP-Out that has it comes back behind everything that was sent before.</summary>
    public uint NextMark()
    {
        IsMarked = false;
        return ++mark;
    }

    public void Send(ReadOnlySpan<byte> wire)
    {
        try
        {
            while (!wire.IsEmpty && !IsEnded)
                wire = wire[socket.Send(wire)..];
        }
        catch (SocketException)
        {
            // The target has ended the connection, or takes nothing more: both are its right.
            IsEnded = true;
        }
    }

    /// <summary>Takes what has come, after waiting this long for something to come at all.</summary>
    public void Receive(int waitMicroseconds)
    {
        try
        {
            while (!IsEnded && socket.Poll(waitMicroseconds, SelectMode.SelectRead))
            {
                waitMicroseconds = 0;
                if (receivedBytes == received.Length)
                    Array.Resize(ref received, received.Length * 2);
                var count = socket.Receive(received, receivedBytes, received.Length - receivedBytes, SocketFlags.None);
                IsEnded = count == 0;
                receivedBytes += count;
                var taken = 0;
                while (TryTake(received.AsSpan(taken, receivedBytes - taken), out var length))
                    taken += length;
                received.AsSpan(taken, receivedBytes - taken).CopyTo(received);
                receivedBytes -= taken;
            }
        }
        catch (SocketException)
        {
            IsEnded = true;
        }
    }

    private static void Require(bool holds, string what, ReadOnlySpan<byte> header)
    {
        if (!holds)
            throw new FuzzDefect($"{what} in a PDU of the target: {Convert.ToHexString(header)}");
    }

    private static uint Word(ReadOnlySpan<byte> header, int at) => BinaryPrimitives.ReadUInt32BigEndian(header[at..]);

    private bool TryTake(ReadOnlySpan<byte> stream, out int length)
    {
        length = 0;
        if (stream.Length < HeaderBytes)
            return false;
        var header = stream[..HeaderBytes];
        var dataBytes = (header[5] << 16) | (header[6] << 8) | header[7];
        Require(header[4] == 0, "additional headers", header);
        Require(dataBytes <= (IsLoggedIn ? DataBytesMax : LoginDataBytesMax), "more data than was declared", header);
        var headerDigest = HasHeaderDigest ? PduField.DigestBytes : 0;
        var padded = dataBytes + PduField.Padding(dataBytes);
        length = HeaderBytes + headerDigest + padded + (HasDataDigest && dataBytes > 0 ? PduField.DigestBytes : 0);
        if (stream.Length < length)
            return false;
        if (HasHeaderDigest)
            Require(BinaryPrimitives.ReadUInt32LittleEndian(stream[HeaderBytes..]) == Crc32C.Of(header), "a wrong header digest", header);
        var data = stream.Slice(HeaderBytes + headerDigest, padded);
        if (HasDataDigest && dataBytes > 0)
            Require(BinaryPrimitives.ReadUInt32LittleEndian(stream[(length - PduField.DigestBytes)..]) == Crc32C.Of(data), "a wrong data digest", header);
        Require(data[dataBytes..].IndexOfAnyExcept((byte)0) < 0, "padding that is not zero", header);
        Answers++;
        Take(header, data[..dataBytes]);
        return true;
    }

    private void Take(ReadOnlySpan<byte> header, ReadOnlySpan<byte> data)
    {
        var opcode = (Opcode)(header[0] & PduField.OpcodeMask);
        if (opcode == Opcode.LoginResponse)
        {
            TakeLogin(header, data);
            return;
        }

        Require(IsLoggedIn || opcode == Opcode.Reject, "something before the login is over", header);
        CheckSequence(opcode, header);
        switch (opcode)
        {
            case Opcode.ReadyToTransfer:
                if (Solicited.Count < SolicitationsMax)
                    Solicited.Add(new Solicitation(Word(header, 16), Word(header, 20), Word(header, 40), Word(header, 44)));
                break;
            case Opcode.NopIn when Word(header, 16) == mark:
                IsMarked = true;
                break;
            case Opcode.NopIn when Word(header, 20) != PduField.NoTag:
                Pings.Add(Word(header, 20));
                break;
            case Opcode.Reject:
                Require(data.Length == HeaderBytes, "a reject without the rejected header", header);
                break;
        }
    }

    private void TakeLogin(ReadOnlySpan<byte> header, ReadOnlySpan<byte> data)
    {
        Require(!IsLoggedIn, "a login response after the login", header);
        if (Word(header, 36) >> 16 != 0)
            return;
        expStatSN = Word(header, 24) + 1;
        if ((header[1] & 0x83) != 0x83)
            return;
        IsLoggedIn = true;
        Session.Tsih = (ushort)(Word(header, 12) & 0xFFFF);
        Require(Session.Tsih != 0, "no TSIH", header);
        HasHeaderDigest = wantsHeaderDigest && data.IndexOf("HeaderDigest=CRC32C"u8) >= 0;
        HasDataDigest = wantsDataDigest && data.IndexOf("DataDigest=CRC32C"u8) >= 0;
    }

    /// <summary>StatSN counts responses (RFC 7143, 4.2.2.2); ExpCmdSN and MaxCmdSN describe a window.</summary>
    private void CheckSequence(Opcode opcode, ReadOnlySpan<byte> header)
    {
        var hasStatus = opcode switch
        {
            Opcode.DataIn => (header[1] & PduField.DataInStatusBit) != 0,
            Opcode.NopIn => Word(header, 16) != PduField.NoTag,
            Opcode.ReadyToTransfer => false,
            Opcode.ScsiResponse or Opcode.TaskManagementResponse or Opcode.TextResponse or Opcode.LogoutResponse or Opcode.AsyncMessage or
                Opcode.Reject => true,
            _ => throw new FuzzDefect($"the target sent opcode {opcode}"),
        };
        var statSN = Word(header, 24);
        if (hasStatus)
        {
            Require(expStatSN is null || statSN == expStatSN, $"StatSN is not {expStatSN}", header);
            expStatSN = statSN + 1;
        }
        else
        {
            Require(statSN == (opcode == Opcode.DataIn ? 0 : expStatSN), $"StatSN is not {expStatSN}", header);
        }

        Session.ExpCmdSN = Word(header, 28);
        Require(Word(header, 32) - Word(header, 28) + 1 <= 4096, "no command window", header);
        if (opcode is Opcode.ScsiResponse or Opcode.DataIn)
            Require((header[1] & (PduField.ResidualOverflowBit | PduField.ResidualUnderflowBit)) != 6, "both residuals", header);
    }
}
