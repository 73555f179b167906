using System.Globalization;
using System.Text;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CowScsi.Iscsi.Login;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Tests.Fuzz;

/// <summary>The stream of an import on the control socket: ascending pieces up to an end, or one refusal.</summary>
internal sealed class ExtentFrameTarget : FuzzTarget
{
    private readonly TransferBuffer buffer = new();

    public override string Name => "extent frames";

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Stream((FrameKind.Data, 0, 4096), (FrameKind.Data, 8192, 100), (FrameKind.End, 16384, 0));
        yield return Stream((FrameKind.End, 4096, 0));
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        for (var at = 0; at + ExtentFrame.HeaderBytes <= input.Length; at += ExtentFrame.HeaderBytes + Math.Clamp(BitConverter.ToInt32(input, at + 4), 0, input.Length))
        {
            yield return (at, 4);
            yield return (at + 4, 4);
            yield return (at + 8, 8);
        }
    }

    public override string Execute(byte[] input)
    {
        using var stream = new MemoryStream(input);
        var source = new FrameSource(stream, sizeBytes: null);
        long end = 0;
        try
        {
            // Each frame takes at least its header from the input, so this ends.
            while (true)
            {
                var reading = source.ReadNextAsync(buffer, CancellationToken.None);
                Require(reading.IsCompleted, "a read from memory waits");
                var piece = reading.GetAwaiter().GetResult();
                Require(piece.OffsetBytes >= end && piece.OffsetBytes <= ExtentFrame.OffsetBytesMax, "a piece lies before the one in front of it, or behind the largest disk");
                if (piece.Length == 0)
                    return "accepted";
                end = piece.OffsetBytes + piece.Length;
            }
        }
        catch (InvalidDataException refused)
        {
            return refused.Message;
        }
    }

    public override void Dispose() => buffer.Release();

    private static byte[] Stream(params ReadOnlySpan<(FrameKind Kind, long Offset, int Length)> frames)
    {
        using var stream = new MemoryStream();
        Span<byte> header = stackalloc byte[ExtentFrame.HeaderBytes];
        foreach (var (kind, offset, length) in frames)
        {
            new ExtentFrame(kind, length, offset).Write(header);
            stream.Write(header);
            stream.Write(new byte[length]);
        }

        return stream.ToArray();
    }
}

/// <summary>Documents of the control socket, both ways: a document of the wanted kind, or a JsonException.</summary>
internal sealed class ControlDocumentTarget : FuzzTarget
{
    private static readonly JsonTypeInfo[] Kinds =
    [
        DocumentContext.Default.DiskRequest, DocumentContext.Default.ResizeRequest, DocumentContext.Default.SnapshotRequest, DocumentContext.Default.CloneRequest,
        DocumentContext.Default.DisksAnswer, DocumentContext.Default.ErrorAnswer, DocumentContext.Default.CheckLine, DocumentContext.Default.DiffLine,
    ];

    public override string Name => "control documents";

    public override int InputBytesMax => 4096;

    /// <summary>System.Text.Json rents and grows buffers of its own; an exception's message repeats the path.</summary>
    public override long AllocatedBytesMax(int inputBytes) => (256 << 10) + (inputBytes * 256L);

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Text(0, """{"name":"d","size_bytes":1048576,"block_bytes":512,"base":{"path":"/a","format":"raw"},"compression":"lz4","encryption":"xts-aes-256"}""");
        yield return Text(1, """{"size_bytes":1048576,"shrink":true}""");
        yield return Text(2, """{"name":"s"}""");
        yield return Text(3, """{"name":"c"}""");
        yield return Text(5, """{"error":"no","code":2,"version":1}""");
        yield return Text(6, """{"progress":0.5,"check":null,"failure":null}""");
        yield return Text(7, """{"run":{"offset_bytes":0,"length_bytes":4096,"zero":false},"end":false,"failure":null}""");
    }

    public override string Execute(byte[] input)
    {
        if (input.Length == 0)
            return "empty";
        var kind = Kinds[input[0] % Kinds.Length];
        try
        {
            var read = JsonSerializer.Deserialize(input.AsSpan(1), kind);
            if (read is null)
                return "null";
            // What was taken can be written, and is then taken again.
            var written = JsonSerializer.SerializeToUtf8Bytes(read, kind);
            Require(Equals(JsonSerializer.SerializeToUtf8Bytes(JsonSerializer.Deserialize(written, kind)!, kind), written), "it is not written as it was read");
            return "accepted" + kind.Type.Name;
        }
        catch (JsonException)
        {
            return "refused" + kind.Type.Name;
        }
    }

    private static bool Equals(byte[] left, byte[] right) => left.AsSpan().SequenceEqual(right);

    private static byte[] Text(byte kind, string text) => [kind, .. Encoding.UTF8.GetBytes(text)];
}

/// <summary>What people type: sizes, names, portals. What is taken is written and read to the same value; a refusal is one line.</summary>
internal sealed class CommandTextTarget : FuzzTarget
{
    public override string Name => "command text";

    public override int InputBytesMax => 600;

    public override IEnumerable<byte[]> Seeds() =>
    [
        .. new[] { "20GiB", "1.5 TiB", "512B", "4KB", "0.000001PiB", "pg", "pg@before", "a-b_c.d@e", "127.0.0.1:3260", "[::1]:3260", "storage.example", "[fe80::1%eth0]:0" }
            .Select(static text => Encoding.UTF8.GetBytes(text)),
    ];

    public override string Execute(byte[] input)
    {
        var text = Encoding.UTF8.GetString(input);
        var word = "";
        if (ByteSize.TryParse(text, out var bytes, out var error))
        {
            Require(bytes > 0, "a size of nothing");
            Require(ByteSize.TryParse(bytes.ToString(CultureInfo.InvariantCulture) + "B", out var again, out _) && again == bytes, "a size is not read as it is written");
            _ = ByteSize.Format(bytes);
            word += "accepted size";
        }
        else
        {
            Require(error.Length > 0, "no reason");
        }

        if (DiskAddress.TryParse(text, out var address, out error))
        {
            Require(address.ToString() == text && DiskAddress.TryParse(text, out var same, out _) && same == address, "an address is not written as it was read");
            Require(address.Disk.All(static letter => char.IsAsciiLetterOrDigit(letter) || letter is '.' or '_' or '-') && address.Disk[0] is not ('.' or '-'), "an address has letters that none can have");
            word += "accepted address";
        }

        if (Portal.TryParse(text, out var portal, out error))
        {
            Require(portal.Port is >= 0 and <= 65535 && Portal.TryParse(portal.ToString(), out var same, out _) && same == portal, $"a portal is not read as it is written: {portal}");
            word += "accepted portal";
        }

        Require(!DiskAddress.Printable(text).Any(char.IsControl), "control characters are left");
        return word;
    }
}

/// <summary>Text of iSCSI logins (RFC 7143, 6.1) and the numbers in it.</summary>
internal sealed class IscsiTextTarget : FuzzTarget
{
    private readonly List<TextPair> pairs = [];

    public override string Name => "iscsi text";

    public override int InputBytesMax => 16 << 10;

    public override IEnumerable<byte[]> Seeds() =>
    [
        "InitiatorName=iqn.1993-08.org.debian:01:abc\0SessionType=Normal\0TargetName=iqn.2026-11.io.cowscsi:1\0AuthMethod=None\0"u8.ToArray(),
        "HeaderDigest=CRC32C,None\0MaxRecvDataSegmentLength=262144\0FirstBurstLength=0x10000\0InitialR2T=Yes\0X-com.example.key#1=v\0"u8.ToArray(),
    ];

    public override string Execute(byte[] input)
    {
        pairs.Clear();
        var taken = TextKeys.TryParse(input, pairs);
        Require(pairs.Count <= TextKeys.PairsMax, "too many pairs");
        var numbers = 0;
        foreach (var (key, value) in pairs)
        {
            Require(key.Length is >= 1 and <= TextKeys.KeyBytesMax && value.Length <= TextKeys.ValueBytesMax, "a pair beyond the bounds");
            numbers += TextKeys.TryParseNumber(value, out _) ? 1 : 0;
        }

        if (!taken)
            return "refused";
        // Bytes that are no UTF-8 are read as replacement characters, which take more room.
        if (!System.Text.Unicode.Utf8.IsValid(input))
            return "accepted, no UTF-8";
        // Written again, it is read to the same pairs.
        var text = new StringBuilder();
        foreach (var (key, value) in pairs)
            TextKeys.Append(text, key, value);
        var again = new List<TextPair>();
        Require(TextKeys.TryParse(Encoding.UTF8.GetBytes(text.ToString()), again) && again.SequenceEqual(pairs), "it is not read as it is written");
        return numbers > 0 ? "accepted with numbers" : "accepted";
    }
}
