using System.Buffers.Binary;
using System.IO.Compression;
using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// A qcow2 image: refused with one line that names the file, or opened, and then every read has an outcome. The images that it begins with
/// were made by qemu-img: version 2, version 3, subclusters, zlib and zstd.
/// </summary>
internal sealed class Qcow2Target : FuzzTarget
{
    private const int ReadBytes = 65536;
    private const int ReadsMax = 48;
    private const int HeaderBytes = 112;
    private const int EntriesMax = 64;

    private readonly NativeBuffer memory = new(ReadBytes);
    private DirectoryInfo? folder;

    public override string Name => "qcow2";

    public override bool IsBigEndian => true;

    public override int InputBytesMax => 1 << 20;

    /// <summary>The largest first cluster, L1 table and caches fit in several times over; they do not depend on the file's length.</summary>
    public override long AllocatedBytesMax(int inputBytes) => 96 << 20;

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (var path in Directory.EnumerateFiles(Path.Combine(AppContext.BaseDirectory, "seeds"), "*.qcow2.gz").Order(StringComparer.Ordinal))
        {
            using var packed = new GZipStream(File.OpenRead(path), CompressionMode.Decompress);
            using var plain = new MemoryStream();
            packed.CopyTo(plain);
            yield return plain.ToArray();
        }
    }

    /// <summary>Header, L1 table, the first entries of L2 tables, and what begins a compressed cluster.</summary>
    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        (int Offset, int Size)[] header = [(4, 4), (8, 8), (16, 4), (20, 4), (24, 8), (32, 4), (36, 4), (40, 8), (48, 8), (56, 4), (60, 4), (64, 8), (72, 8), (80, 8), (88, 8), (96, 4), (100, 4), (104, 1), (112, 4), (116, 4)];
        foreach (var field in header)
            yield return field;
        if (input.Length < HeaderBytes)
            yield break;
        var l1 = BinaryPrimitives.ReadInt64BigEndian(input.AsSpan(40));
        for (var i = 0; i < EntriesMax && InFile(input, l1 + (i * 8)); i++)
        {
            yield return ((int)l1 + (i * 8), 8);
            var l2 = BinaryPrimitives.ReadInt64BigEndian(input.AsSpan((int)l1 + (i * 8))) & 0x00FFFFFFFFFFFE00;
            for (var k = 0; l2 > 0 && k < EntriesMax && InFile(input, l2 + (k * 8)); k++)
            {
                yield return ((int)l2 + (k * 8), 8);
                var entry = BinaryPrimitives.ReadInt64BigEndian(input.AsSpan((int)l2 + (k * 8)));
                var data = entry & 0x0003FFFFFFFFFFFF;
                if ((entry & (1L << 62)) != 0 && InFile(input, data))
                    yield return ((int)data, 8);
            }
        }
    }

    public override string Execute(byte[] input)
    {
        folder ??= Directory.CreateTempSubdirectory("cowscsi-fuzz-");
        var path = Path.Combine(folder.FullName, "damaged.qcow2");
        File.WriteAllBytes(path, input);
        try
        {
            using var image = BaseImages.Open(new BaseImageReference(path, BaseImageFormat.Qcow2));
            return ReadAround(image);
        }
        catch (StoreException refused)
        {
            Require(!refused.Message.Contains('\n', StringComparison.Ordinal) && refused.Message.Contains("damaged.qcow2", StringComparison.Ordinal), $"refused without the file's name, or in several lines: {refused.Message}");
            return $"{refused.Error} {new string([.. refused.Message.Where(static letter => char.IsAsciiLetter(letter) || letter == ' ').Take(160)])}";
        }
    }

    public override void Dispose()
    {
        memory.Dispose();
        folder?.Delete(recursive: true);
    }

    private static bool InFile(byte[] input, long at) => at >= 0 && at + 8 <= input.Length;

    private string ReadAround(BaseImage image)
    {
        Require(image.SizeBytes is >= 0 and <= 64L << 40, $"a size of {image.SizeBytes}");
        var unreadable = 0;
        for (var i = 0; i < ReadsMax; i++)
        {
            // The beginning, places that double, and the end.
            var offset = i < 8 ? i * (long)ReadBytes : i < ReadsMax - 1 ? ReadBytes * 8L << (i - 8) : image.SizeBytes - 1;
            if (offset < 0 || offset >= image.SizeBytes)
                continue;
            var length = (int)Math.Min(ReadBytes, image.SizeBytes - offset);
            image.TryRead(offset, memory.Buffer.Slice(0, length), mayWait: false, out _);
            Require(image.TryRead(offset, memory.Buffer.Slice(0, length), mayWait: true, out var outcome), "a read that may wait does not end");
            Require(outcome is BlockOutcome.Success or BlockOutcome.Unreadable, $"a read ends as {outcome}");
            unreadable += outcome == BlockOutcome.Unreadable ? 1 : 0;
            var run = image.GetAllocation(offset, length);
            Require(run.LengthBytes is >= 1 && run.LengthBytes <= length, $"a run of {run.LengthBytes} bytes");
        }

        return $"accepted, {Math.Min(unreadable, 4)} unreadable";
    }
}
