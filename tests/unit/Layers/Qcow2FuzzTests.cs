using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>
/// Damaged images made from real ones: each either is refused with a <see cref="StoreException"/> of one line, or opens and answers every
/// read with an outcome, within bounded memory and time.
/// </summary>
public sealed class Qcow2FuzzTests
{
    private const int RoundsPerImage = 400;

    /// <summary>
    /// Of the managed heap, for one damaged image: the largest first cluster, L1 table and caches fit in several times over.
    /// </summary>
    private const long AllocatedBytesMax = 96 << 20;

    /// <summary>What one image may take on a busy machine; a hang takes for ever.</summary>
    private static readonly TimeSpan ImageTimeMax = TimeSpan.FromSeconds(20);

    [SkippableTheory]
    [InlineData(1, "compat=0.10,cluster_size=4k", false)]
    [InlineData(2, "compat=1.1,cluster_size=64k", false)]
    [InlineData(3, "compat=1.1,cluster_size=512", true)]
    [InlineData(4, "compat=1.1,cluster_size=64k,compression_type=zstd", true)]
    [InlineData(5, "compat=1.1,cluster_size=16k,extended_l2=on", false)]
    [InlineData(6, "compat=1.1,cluster_size=2M", true)]
    public void FlippedBytes(int seed, string options, bool compress)
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", 1 << 20, seed);
        images.Convert("disk.raw", "a.qcow2", options, compress);
        var original = File.ReadAllBytes(images.PathOf("a.qcow2"));
        var metadata = MetadataOffsets(original);
        var random = new Random(seed);
        var (refused, unreadable) = (0, 0);
        for (var round = 0; round < RoundsPerImage; round++)
        {
            var changes = new List<(int Offset, byte Value)>();
            for (var count = random.Next(1, 5); count > 0; count--)
            {
                var offset = random.Next(8) == 0 ? random.Next(original.Length) : metadata[random.Next(metadata.Length)];
                var value = random.Next(3) switch
                {
                    0 => (byte)random.Next(256),
                    1 => (byte)(original[offset] ^ (1 << random.Next(8))),
                    _ => (byte)0xFF,
                };
                changes.Add((offset, value));
            }

            var what = $"seed {seed}, round {round}: {string.Join(' ', changes)}";
            Exercise(images, original, changes, what, random, ref refused, ref unreadable);
        }

        Assert.True(refused > 0 && unreadable > 0, $"the changes are too tame: {refused} refused, {unreadable} unreadable");
    }

    [SkippableFact]
    public void EveryTruncation()
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", 1 << 20, 7);
        images.Img("convert", "-f", "raw", "-O", "qcow2", "-o", "cluster_size=4k", images.PathOf("disk.raw"), images.PathOf("a.qcow2"));
        var original = File.ReadAllBytes(images.PathOf("a.qcow2"));
        var random = new Random(7);
        var (refused, unreadable) = (0, 0);
        var parts = Enumerable.Range(1, 100).Select(i => (int)((long)original.Length * i / 101));
        foreach (var length in Enumerable.Range(0, 130).Concat(parts))
            Exercise(images, original.AsSpan(0, length).ToArray(), [], $"truncated to {length}", random, ref refused, ref unreadable);
        Assert.True(refused > 100, $"{refused} refused");
    }

    private static void Exercise(
        QemuImages images,
        byte[] original,
        List<(int Offset, byte Value)> changes,
        string what,
        Random random,
        ref int refused,
        ref int unreadable)
    {
        var damaged = original.ToArray();
        foreach (var (offset, value) in changes)
            damaged[offset] = value;
        File.WriteAllBytes(images.PathOf("damaged.qcow2"), damaged);

        var started = Stopwatch.GetTimestamp();
        var allocatedBefore = GC.GetAllocatedBytesForCurrentThread();
        try
        {
            using var image = images.Open("damaged.qcow2");
            unreadable += ReadAround(image, random);
        }
        catch (StoreException cause)
        {
            refused++;
            Assert.DoesNotContain('\n', cause.Message);
            Assert.Contains("damaged.qcow2", cause.Message, StringComparison.Ordinal);
        }
        catch (Exception cause) when (cause is not Xunit.Sdk.XunitException)
        {
            Assert.Fail($"{what}: {cause}");
        }

        var allocated = GC.GetAllocatedBytesForCurrentThread() - allocatedBefore;
        Assert.True(allocated < AllocatedBytesMax, $"{what}: {allocated} bytes allocated");
        Assert.True(Stopwatch.GetElapsedTime(started) < ImageTimeMax, $"{what}: took {Stopwatch.GetElapsedTime(started)}");
    }

    /// <summary>The first 2 MiB, the end, and places between; returns how many reads were Unreadable.</summary>
    private static int ReadAround(BaseImage image, Random random)
    {
        using var memory = new NativeBuffer(65536);
        var unreadable = 0;
        for (var i = 0; i < 48 && image.SizeBytes > 0; i++)
        {
            var offset = i < 32 ? i * 65536L : i == 32 ? image.SizeBytes - 1 : random.NextInt64(image.SizeBytes);
            if (offset >= image.SizeBytes)
                continue;
            var length = (int)Math.Min(memory.Length, image.SizeBytes - offset);
            image.TryRead(offset, memory.Buffer.Slice(0, length), mayWait: false, out _);
            Assert.True(image.TryRead(offset, memory.Buffer.Slice(0, length), mayWait: true, out var outcome));
            Assert.True(outcome is BlockOutcome.Success or BlockOutcome.Unreadable);
            unreadable += outcome == BlockOutcome.Unreadable ? 1 : 0;
            var run = image.GetAllocation(offset, length);
            Assert.InRange(run.LengthBytes, 1, length);
        }

        return unreadable;
    }

    /// <summary>Header, L1 table and the first entries of each L2 table: where a flip means something.</summary>
    private static int[] MetadataOffsets(byte[] image)
    {
        var offsets = new List<int>(Enumerable.Range(4, 300));
        var l1 = (int)Word(image, 40);
        var entries = (int)System.Buffers.Binary.BinaryPrimitives.ReadUInt32BigEndian(image.AsSpan(36));
        offsets.AddRange(Enumerable.Range(l1, Math.Min(64, entries * 8)));
        for (var i = 0; i < Math.Min(8, entries); i++)
        {
            var l2 = (int)(Word(image, l1 + i * 8) & 0x00FFFFFFFFFFFE00);
            if (l2 > 0)
                offsets.AddRange(Enumerable.Range(l2, Math.Min(256, image.Length - l2)));
        }

        return [.. offsets];
    }

    private static long Word(byte[] image, int offset) => System.Buffers.Binary.BinaryPrimitives.ReadInt64BigEndian(image.AsSpan(offset));
}
