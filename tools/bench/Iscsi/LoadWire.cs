using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.Engine;

namespace CowScsi.Bench.Iscsi;

/// <summary>
/// PDUs on a blocking socket, RFC 7143, clause 11: what is to be sent is gathered and leaves in one call; what has come is taken apart in
/// place.
/// </summary>
internal sealed class LoadWire : IDisposable
{
    public const int HeaderBytes = 48;
    private const int DigestBytes = 4;
    private const int TimeLimitMilliseconds = 20_000;

    /// <summary>The longest data segment that is declared, and one more PDU behind it.</summary>
    private const int ReceiveBytes = 2 << 20;

    private readonly Socket socket;
    private readonly byte[] received = new byte[ReceiveBytes];
    private byte[] pending = new byte[4 << 20];
    private int pendingLength;
    private int receivedFirst;
    private int receivedEnd;

    public LoadWire(System.Net.IPEndPoint portal)
    {
        socket = new Socket(portal.AddressFamily, SocketType.Stream, ProtocolType.Tcp)
        {
            NoDelay = true,
            ReceiveTimeout = TimeLimitMilliseconds,
            SendTimeout = TimeLimitMilliseconds,
        };
        socket.Connect(portal);
    }

    public bool HasHeaderDigest { get; set; }

    public bool HasDataDigest { get; set; }

    /// <summary>A PDU has come whole: <see cref="Take"/> will not wait.</summary>
    public bool HasMore => TryMeasure(out var length) && receivedEnd - receivedFirst >= length;

    /// <summary>Room for a PDU of this much data; the caller fills header and data, and calls <see cref="Seal"/>.</summary>
    public Span<byte> Open(int dataLength)
    {
        var total = HeaderBytes + (HasHeaderDigest ? DigestBytes : 0) + Padded(dataLength) + (HasDataDigest && dataLength > 0 ? DigestBytes : 0);
        if (pending.Length - pendingLength < total)
            Array.Resize(ref pending, Math.Max(pending.Length * 2, pendingLength + total));
        var pdu = pending.AsSpan(pendingLength, total);
        pdu.Clear();
        pdu[5] = (byte)(dataLength >> 16);
        BinaryPrimitives.WriteUInt16BigEndian(pdu[6..], (ushort)dataLength);
        pendingLength += total;
        return pdu;
    }

    public Span<byte> DataOf(Span<byte> pdu, int dataLength) => pdu.Slice(HeaderBytes + (HasHeaderDigest ? DigestBytes : 0), dataLength);

    public void Seal(Span<byte> pdu, int dataLength)
    {
        if (HasHeaderDigest)
            BinaryPrimitives.WriteUInt32LittleEndian(pdu[HeaderBytes..], Crc32C.Of(pdu[..HeaderBytes]));
        if (!HasDataDigest || dataLength == 0)
            return;
        var padded = DataOf(pdu, Padded(dataLength));
        BinaryPrimitives.WriteUInt32LittleEndian(pdu[^DigestBytes..], Crc32C.Of(padded));
    }

    public void Flush()
    {
        for (var sent = 0; sent < pendingLength;)
            sent += socket.Send(pending, sent, pendingLength - sent, SocketFlags.None);
        pendingLength = 0;
    }

    /// <summary>The next PDU, whole and checked. It stands until the next call.</summary>
    public ReadOnlySpan<byte> Take(out ReadOnlySpan<byte> data)
    {
        int length;
        while (!TryMeasure(out length) || receivedEnd - receivedFirst < length)
            Receive();
        var pdu = received.AsSpan(receivedFirst, length);
        receivedFirst += length;
        var dataLength = DataLength(pdu);
        var start = HeaderBytes + (HasHeaderDigest ? DigestBytes : 0);
        data = pdu.Slice(start, dataLength);
        if (HasHeaderDigest && BinaryPrimitives.ReadUInt32LittleEndian(pdu[HeaderBytes..]) != Crc32C.Of(pdu[..HeaderBytes]))
            throw new BenchException("a header digest is wrong");
        if (HasDataDigest && dataLength > 0 && BinaryPrimitives.ReadUInt32LittleEndian(pdu[^DigestBytes..]) != Crc32C.Of(pdu.Slice(start, Padded(dataLength))))
            throw new BenchException("a data digest is wrong");
        return pdu[..HeaderBytes];
    }

    public void Dispose() => socket.Dispose();

    private static int Padded(int length) => (length + 3) & ~3;

    private static int DataLength(ReadOnlySpan<byte> header) => (header[5] << 16) | BinaryPrimitives.ReadUInt16BigEndian(header[6..]);

    private bool TryMeasure(out int length)
    {
        length = 0;
        if (receivedEnd - receivedFirst < HeaderBytes)
            return false;
        var dataLength = DataLength(received.AsSpan(receivedFirst));
        length = HeaderBytes + (HasHeaderDigest ? DigestBytes : 0) + Padded(dataLength) + (HasDataDigest && dataLength > 0 ? DigestBytes : 0);
        return length <= ReceiveBytes ? true : throw new BenchException($"a PDU of {length} bytes");
    }

    private void Receive()
    {
        if (receivedFirst == receivedEnd)
        {
            receivedFirst = receivedEnd = 0;
        }
        else if (receivedFirst > 0 && received.Length - receivedEnd < received.Length / 2)
        {
            received.AsSpan(receivedFirst, receivedEnd - receivedFirst).CopyTo(received);
            receivedEnd -= receivedFirst;
            receivedFirst = 0;
        }

        var read = socket.Receive(received, receivedEnd, received.Length - receivedEnd, SocketFlags.None);
        if (read == 0)
            throw new BenchException("the target closed the connection");
        receivedEnd += read;
    }
}
