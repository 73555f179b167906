using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>Every byte of images that qemu made, against qemu's own conversion.</summary>
public sealed class Qcow2ReadTests
{
    private const int DiskBytes = (9 << 20) + 512;

    [SkippableTheory]
    [InlineData("0.10", "512")]
    [InlineData("0.10", "4k")]
    [InlineData("0.10", "64k")]
    [InlineData("0.10", "2M")]
    [InlineData("1.1", "512")]
    [InlineData("1.1", "1k")]
    [InlineData("1.1", "4k")]
    [InlineData("1.1", "64k")]
    [InlineData("1.1", "2M")]
    public void StandardClusters(string compat, string clusterSize)
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", DiskBytes, 1);
        images.Convert("disk.raw", "a.qcow2", $"compat={compat},cluster_size={clusterSize}");
        images.Io("a.qcow2", "write -P 0x31 100k 3k", "write -z 1M 700k", "discard 3M 512k", "write -P 0x32 4000k 900k");
        AssertSame(images, "a.qcow2", 11);
    }

    [SkippableTheory]
    [InlineData("512", "zlib", "0.10")]
    [InlineData("4k", "zlib", "1.1")]
    [InlineData("64k", "zlib", "0.10")]
    [InlineData("64k", "zlib", "1.1")]
    [InlineData("2M", "zlib", "1.1")]
    [InlineData("4k", "zstd", "1.1")]
    [InlineData("64k", "zstd", "1.1")]
    [InlineData("2M", "zstd", "1.1")]
    public void CompressedClusters(string clusterSize, string type, string compat)
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", DiskBytes, 2);
        var options = $"compat={compat},cluster_size={clusterSize}" + (type == "zstd" ? ",compression_type=zstd" : string.Empty);
        images.Convert("disk.raw", "a.qcow2", options, compress: true);
        AssertSame(images, "a.qcow2", 12);
        images.Io("a.qcow2", "write -P 0x41 5000k 20k", "write -P 0x42 7M 1M");
        AssertSame(images, "a.qcow2", 13);
    }

    [SkippableTheory]
    [InlineData("16k")]
    [InlineData("64k")]
    [InlineData("2M")]
    public void ExtendedL2Entries(string clusterSize)
    {
        using var images = new QemuImages();
        images.MakeRaw("base.raw", 6 << 20, 3);
        images.Overlay("a.qcow2", "base.raw", "raw", $"extended_l2=on,cluster_size={clusterSize}", "10M");
        images.Io(
            "a.qcow2",
            "write -P 0x51 2k 2k", "write -P 0x52 10k 512", "write -z 20k 4k", "write -P 0x53 300k 130k", "write -z 1M 64k",
            "write -z 2050k 2k", "write -P 0x54 3M 2M", "write -z 4M 100k", "discard 3500k 64k", "write -P 0x55 7000k 3k",
            $"write -c -P 0x56 8M {clusterSize}");
        AssertSame(images, "a.qcow2", 14);
    }

    [SkippableTheory]
    [InlineData("off")]
    [InlineData("metadata")]
    [InlineData("falloc")]
    [InlineData("full")]
    public void Preallocation(string mode)
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", "-o", $"preallocation={mode}", images.PathOf("a.qcow2"), "9M");
        AssertSame(images, "a.qcow2", 15);
        images.Io("a.qcow2", "write -P 0x61 1000k 200k", "write -z 4M 1M", "write -P 0x62 9215k 1k");
        AssertSame(images, "a.qcow2", 16);
    }

    [SkippableFact]
    public void InternalSnapshots_AreNotTheActiveState()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", images.PathOf("a.qcow2"), "4M");
        images.Io("a.qcow2", "write -P 1 0 2M");
        images.Img("snapshot", "-c", "before", images.PathOf("a.qcow2"));
        images.Io("a.qcow2", "write -P 2 1M 2M");
        AssertSame(images, "a.qcow2", 17);
    }

    [SkippableFact]
    public void BackingChains_OfManySizesAndClusterSizes_WithRelativeNames()
    {
        using var images = new QemuImages();
        Directory.CreateDirectory(images.PathOf("deep"));
        images.MakeRaw("deep/base.raw", (3 << 20) + 1024, 4);
        images.Overlay("1.qcow2", "deep/base.raw", "raw", "compat=0.10,cluster_size=4k", "5M");
        images.Io("1.qcow2", "write -P 0x71 2900k 400k", "write -P 0x72 100k 1k");
        images.Overlay("deep/2.qcow2", "../1.qcow2", "qcow2", "cluster_size=64k", "4M");
        images.Io("deep/2.qcow2", "write -z 1M 300k", "write -P 0x73 3900k 100k");
        images.Overlay("3.qcow2", images.PathOf("deep/2.qcow2"), "qcow2", "cluster_size=1k", "8M");
        images.Io("3.qcow2", "write -P 0x74 7M 3k", "write -z 4090k 10k");
        AssertSame(images, "3.qcow2", 18);
    }

    [SkippableFact]
    public void AWholeClusterDiskThatEndsInsideACluster()
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", (1 << 20) + 1536, 5);
        foreach (var compress in new[] { false, true })
        {
            images.Convert("disk.raw", "a.qcow2", compress: compress);
            AssertSame(images, "a.qcow2", 19);
        }
    }

    [SkippableFact]
    public void A64TiBDisk_OpensAndReadsAtBothEnds()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", images.PathOf("a.qcow2"), "64T");
        images.Io("a.qcow2", "write -P 0x81 0 64k", $"write -P 0x82 {(64L << 40) - 65536} 64k");
        using var image = images.Open("a.qcow2");
        Assert.Equal(64L << 40, image.SizeBytes);
        using var memory = new NativeBuffer(65536);
        foreach (var (offset, pattern) in new[] { (0L, (byte)0x81), (32L << 40, (byte)0), ((64L << 40) - 65536, (byte)0x82) })
        {
            memory.Span.Fill(0xEE);
            Assert.True(image.TryRead(offset, memory.Buffer, mayWait: true, out var outcome));
            Assert.Equal(BlockOutcome.Success, outcome);
            Assert.Equal(-1, memory.Span.IndexOfAnyExcept(pattern));
        }

        var hole = image.GetAllocation(65536, image.SizeBytes - 65536);
        Assert.Equal(new AllocationRun(65536, (64L << 40) - 2 * 65536, AllocationState.Deallocated), hole);
    }

    [SkippableFact]
    public void ADirtyImage_IsReadable()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", "-o", "lazy_refcounts=on", images.PathOf("a.qcow2"), "1M");
        images.Io("a.qcow2", "write -P 0x91 64k 64k");
        var expected = images.Expected("a.qcow2");
        using (var file = File.OpenWrite(images.PathOf("a.qcow2")))
        {
            file.Position = 79;
            file.WriteByte(1);
        }

        using var image = images.Open("a.qcow2");
        QemuImages.AssertSame(expected, image, 20);
    }

    [SkippableFact]
    public void ACompressedCluster_IsServedWithoutWaitingOnceItWasRead()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", images.PathOf("a.qcow2"), "1M");
        images.Io("a.qcow2", "write -c -P 0xA1 128k 64k");
        using var image = images.Open("a.qcow2");
        using var memory = new NativeBuffer(4096);
        const long Offset = 128 << 10;
        Assert.False(image.TryRead(Offset, memory.Buffer, mayWait: false, out _));
        Assert.True(image.TryRead(Offset + 8192, memory.Buffer, mayWait: true, out _));
        Assert.True(image.TryRead(Offset, memory.Buffer, mayWait: false, out var outcome));
        Assert.Equal(BlockOutcome.Success, outcome);
        Assert.Equal(-1, memory.Span.IndexOfAnyExcept((byte)0xA1));
    }

    [SkippableFact]
    public void InSteadyState_UncompressedReadsAllocateNothing()
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", 4 << 20, 7);
        images.Img("create", "-f", "qcow2", "-F", "raw", "-b", images.PathOf("disk.raw"), images.PathOf("a.qcow2"), "6M");
        images.Io("a.qcow2", "write -P 3 1M 1M", "write -z 2M 1M");
        using var image = images.Open("a.qcow2");
        using var memory = new NativeBuffer(65536);
        ReadAll();
        var before = GC.GetAllocatedBytesForCurrentThread();
        ReadAll();
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);

        void ReadAll()
        {
            for (long at = 0; at < image.SizeBytes; at += 65536)
            {
                if (!image.TryRead(at, memory.Buffer, mayWait: false, out _))
                    image.TryRead(at, memory.Buffer, mayWait: true, out _);
            }
        }
    }

    [SkippableFact]
    public void ManyThreadsOnOneImage_ReadTheSame()
    {
        using var images = new QemuImages();
        images.MakeRaw("disk.raw", DiskBytes, 8);
        images.Convert("disk.raw", "a.qcow2", "cluster_size=4k", compress: true);
        images.Io("a.qcow2", "write -P 0x99 2M 2M");
        var expected = images.Expected("a.qcow2");
        using var image = images.Open("a.qcow2");
        var six = new ParallelOptions { MaxDegreeOfParallelism = 6 };
        Parallel.For(0, 6, six, worker => QemuImages.AssertSame(expected, image, 100 + worker));
    }

    private static void AssertSame(QemuImages images, string name, int seed)
    {
        var expected = images.Expected(name);
        using var image = images.Open(name);
        QemuImages.AssertSame(expected, image, seed);
    }
}
