using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>What is not supported is refused by name, what is damaged by predicate, and nothing is ever served as zeros instead.</summary>
public sealed class Qcow2RefusalTests
{
    [SkippableFact]
    public void Encryption_IsNamed()
    {
        using var images = new QemuImages();
        File.WriteAllText(images.PathOf("secret"), "secret");
        string[] secret = ["--object", $"secret,id=s,file={images.PathOf("secret")}"];
        const string Options = "encrypt.format=luks,encrypt.key-secret=s,encrypt.iter-time=10";
        images.Img(["create", .. secret, "-f", "qcow2", "-o", Options, images.PathOf("luks.qcow2"), "1M"]);
        AssertUnsupported(images.Refused("luks.qcow2"), "LUKS");

        Make(images);
        AssertUnsupported(Patched(images, 32, 4, 1), "AES");
    }

    [SkippableFact]
    public void AnExternalDataFile_IsNamed()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", "-o", $"data_file={images.PathOf("data.raw")}", images.PathOf("a.qcow2"), "1M");
        AssertUnsupported(images.Refused("a.qcow2"), "external data file");
    }

    [SkippableTheory]
    [InlineData(72, 8, 0x20, "incompatible feature bit 5")]
    [InlineData(72, 8, long.MinValue, "incompatible feature bit 63")]
    [InlineData(4, 4, 1, "version 1")]
    [InlineData(4, 4, 4, "version 4")]
    [InlineData(104, 1, 2, "compression type 2")]
    public void WhatIsNotKnown_IsNamed(int offset, int bytes, long value, string named)
    {
        using var images = new QemuImages();
        Make(images);
        AssertUnsupported(Patched(images, offset, bytes, value), named);
    }

    [SkippableTheory]
    [InlineData(0, 4, 0, "predicate 1")]
    [InlineData(20, 4, 8, "predicate 3")]
    [InlineData(20, 4, 22, "predicate 3")]
    [InlineData(20, 4, 0xFFFFFFFF, "predicate 3")]
    [InlineData(24, 8, (64L << 40) + 1, "predicate 4")]
    [InlineData(24, 8, -1, "predicate 4")]
    [InlineData(72, 8, 2, "predicate 6")]
    [InlineData(100, 4, 96, "predicate 7")]
    [InlineData(100, 4, 0xFFFFFFF8, "predicate 7")]
    [InlineData(104, 1, 1, "predicate 8")]
    [InlineData(72, 8, 8, "predicate 8")]
    [InlineData(36, 4, 0, "predicate 10")]
    [InlineData(40, 8, 0x30001, "predicate 11")]
    [InlineData(40, 8, 1L << 40, "predicate 11")]
    [InlineData(40, 8, long.MinValue, "predicate 11")]
    [InlineData(112 + 4, 4, 0x7FFFFFFF, "predicate 12")]
    [InlineData(8, 8, 0xFFFFFFF, "predicate 13")]
    [InlineData(8, 8, 64, "predicate 13")]
    [InlineData(8, 8, -1, "predicate 13")]
    public void ABrokenHeader_IsRefusedByPredicate(int offset, int bytes, long value, string predicate)
    {
        using var images = new QemuImages();
        Make(images);
        var refused = Patched(images, offset, bytes, value);
        Assert.Equal(StoreError.Corrupt, refused.Error);
        Assert.Contains(predicate + ":", refused.Message, StringComparison.Ordinal);
        Assert.Contains("a.qcow2", refused.Message, StringComparison.Ordinal);
        Assert.Contains("offset", refused.Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void ExtendedL2WithSmallClusters_IsPredicate9()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", "-o", "cluster_size=4k", images.PathOf("a.qcow2"), "64k");
        Assert.Contains("predicate 9:", Patched(images, 72, 8, 0x10).Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void AnL1TableBeyondItsBound_IsRefusedBeforeItIsAllocated()
    {
        using var images = new QemuImages();
        images.Img("create", "-f", "qcow2", "-o", "cluster_size=512", images.PathOf("a.qcow2"), "64k");
        Patch(images, 24, 8, 64L << 40);
        AssertUnsupported(Patched(images, 36, 4, 0x80000000), "L1 table of 2147483648 entries");

        var chain = new BaseImageChain();
        chain.TakeTableBytes("a.qcow2", BaseImageChain.TableBytesMax);
        AssertUnsupported(Assert.Throws<StoreException>(() => chain.TakeTableBytes("b.qcow2", 8)), "'b.qcow2'");
    }

    [SkippableTheory]
    [InlineData(1, "predicate 1")]
    [InlineData(1L << 56, "predicate 1")]
    [InlineData(0x200, "predicate 2")]
    [InlineData(1L << 50, "predicate 3")]
    public void ABrokenL1Entry_IsRefusedWhenOpened(long flip, string predicate)
    {
        using var images = new QemuImages();
        Make(images);
        var l1 = L1Offset(images);
        var refused = Patched(images, l1, 8, Read(images, l1) ^ flip);
        Assert.Equal(StoreError.Corrupt, refused.Error);
        Assert.Contains($"qcow2 L1 entry 0, {predicate}:", refused.Message, StringComparison.Ordinal);
        Assert.Contains($"offset {l1}", refused.Message, StringComparison.Ordinal);
    }

    [SkippableTheory]
    [InlineData(2)]
    [InlineData(1L << 61)]
    [InlineData(0x200)]
    [InlineData(1L << 50)]
    [InlineData(1L << 62)]
    public void ABrokenL2Entry_IsUnreadableNotZeros(long flip)
    {
        using var images = new QemuImages();
        Make(images);
        var l2 = Read(images, L1Offset(images)) & 0x00FFFFFFFFFFFE00;
        Patch(images, l2, 8, Read(images, l2) ^ flip);
        using var image = images.Open("a.qcow2");
        using var memory = new NativeBuffer(4096);
        Assert.True(image.TryRead(0, memory.Buffer, mayWait: true, out var outcome));
        Assert.Equal(BlockOutcome.Unreadable, outcome);
        Assert.Equal(AllocationState.Mapped, image.GetAllocation(0, 4096).State);
        Assert.True(image.TryRead(65536, memory.Buffer, mayWait: true, out outcome));
        Assert.Equal(BlockOutcome.Success, outcome);
    }

    [SkippableFact]
    public void TheZeroFlagInVersion2_IsUnreadable()
    {
        using var images = new QemuImages();
        Make(images, "compat=0.10");
        var l2 = Read(images, L1Offset(images)) & 0x00FFFFFFFFFFFE00;
        Patch(images, l2, 8, Read(images, l2) | 1);
        using var image = images.Open("a.qcow2");
        using var memory = new NativeBuffer(4096);
        Assert.True(image.TryRead(0, memory.Buffer, mayWait: true, out var outcome));
        Assert.Equal(BlockOutcome.Unreadable, outcome);
    }

    [SkippableFact]
    public void ADamagedCompressedCluster_IsUnreadable()
    {
        foreach (var type in new[] { "zlib", "zstd" })
        {
            using var images = new QemuImages();
            images.Img("create", "-f", "qcow2", "-o", $"compression_type={type}", images.PathOf("a.qcow2"), "1M");
            images.Io("a.qcow2", "write -c -P 7 0 64k");
            var entry = Read(images, Read(images, L1Offset(images)) & 0x00FFFFFFFFFFFE00);
            Patch(images, entry & ((1L << 54) - 1), 8, -1);
            using var image = images.Open("a.qcow2");
            using var memory = new NativeBuffer(4096);
            Assert.True(image.TryRead(0, memory.Buffer, mayWait: true, out var outcome));
            Assert.Equal(BlockOutcome.Unreadable, outcome);
        }
    }

    [SkippableFact]
    public void LoopsAndOverlongChains_AreRefused()
    {
        using var images = new QemuImages();
        Overlay(images, "a.qcow2", null);
        Overlay(images, "b.qcow2", "a.qcow2");
        images.Img("rebase", "-u", "-F", "qcow2", "-b", "b.qcow2", images.PathOf("a.qcow2"));
        var refused = images.Refused("a.qcow2");
        Assert.Equal(StoreError.Invalid, refused.Error);
        Assert.Contains("backs itself", refused.Message, StringComparison.Ordinal);

        Directory.CreateSymbolicLink(images.PathOf("same"), Path.GetDirectoryName(images.PathOf("same"))!);
        Overlay(images, "c.qcow2", null);
        images.Img("rebase", "-u", "-F", "qcow2", "-b", "same/c.qcow2", images.PathOf("c.qcow2"));
        Assert.Contains("backs itself", images.Refused("c.qcow2").Message, StringComparison.Ordinal);

        for (var i = 0; i <= 64; i++)
            Overlay(images, $"{i}.qcow2", i == 0 ? null : $"{i - 1}.qcow2");
        using (images.Open("63.qcow2"))
            Assert.Contains("64 are possible", images.Refused("64.qcow2").Message, StringComparison.Ordinal);
    }

    [SkippableFact]
    public void BackingFilesThatCannotBeUsed_AreNamedWithTheImageThatNamesThem()
    {
        using var images = new QemuImages();
        images.MakeRaw("base.raw", 1 << 20, 1);
        images.Img("create", "-u", "-f", "qcow2", "-F", "raw", "-b", "gone.raw", images.PathOf("a.qcow2"), "1M");
        var refused = images.Refused("a.qcow2");
        Assert.Equal(StoreError.Io, refused.Error);
        Assert.Contains("gone.raw", refused.Message, StringComparison.Ordinal);
        Assert.Contains("a.qcow2", refused.Message, StringComparison.Ordinal);

        images.Img("create", "-u", "-f", "qcow2", "-F", "raw", "-b", "nbd://host/export", images.PathOf("b.qcow2"), "1M");
        AssertUnsupported(images.Refused("b.qcow2"), "nbd://host/export");
        images.Img("create", "-u", "-f", "qcow2", "-F", "raw", "-b", "json:{\"driver\":\"null-co\"}", images.PathOf("c.qcow2"), "1M");
        AssertUnsupported(images.Refused("c.qcow2"), "not a path");
        images.Img("create", "-u", "-f", "qcow2", "-F", "vmdk", "-b", "base.raw", images.PathOf("d.qcow2"), "1M");
        AssertUnsupported(images.Refused("d.qcow2"), "'vmdk'");
    }

    [SkippableFact]
    public void ABackingFileOfUnstatedFormat_IsRefusedWithTheCommandThatStatesIt()
    {
        using var images = new QemuImages();
        images.MakeRaw("base.raw", 1 << 20, 1);
        images.Img("create", "-f", "qcow2", "-F", "raw", "-b", "base.raw", images.PathOf("a.qcow2"));
        var bytes = File.ReadAllBytes(images.PathOf("a.qcow2"));
        var extension = bytes.AsSpan().IndexOf((ReadOnlySpan<byte>)[0xE2, 0x79, 0x2A, 0xCA]);
        Patch(images, extension, 4, 0x12345678);
        AssertUnsupported(images.Refused("a.qcow2"), "qemu-img rebase -u -F");
    }

    private static void Make(QemuImages images, string options = "compat=1.1")
    {
        images.Img("create", "-f", "qcow2", "-o", options, images.PathOf("a.qcow2"), "1M");
        images.Io("a.qcow2", "write -P 0x77 0 128k");
    }

    private static void Overlay(QemuImages images, string name, string? backing)
    {
        string[] under = backing is null ? [] : ["-u", "-F", "qcow2", "-b", backing];
        images.Img(["create", "-f", "qcow2", .. under, images.PathOf(name), "1M"]);
    }

    private static StoreException Patched(QemuImages images, long offset, int bytes, long value)
    {
        Patch(images, offset, bytes, value);
        return images.Refused("a.qcow2");
    }

    private static void Patch(QemuImages images, long offset, int bytes, long value)
    {
        var field = new byte[8];
        BinaryPrimitives.WriteInt64BigEndian(field, value);
        using var file = File.OpenWrite(images.PathOf("a.qcow2"));
        file.Position = offset;
        file.Write(field.AsSpan(8 - bytes));
    }

    private static long L1Offset(QemuImages images) => Read(images, 40);

    private static long Read(QemuImages images, long offset)
    {
        var field = new byte[8];
        using var file = File.OpenRead(images.PathOf("a.qcow2"));
        file.Position = offset;
        file.ReadExactly(field);
        return BinaryPrimitives.ReadInt64BigEndian(field);
    }

    private static void AssertUnsupported(StoreException refused, string named)
    {
        Assert.Equal(StoreError.Unsupported, refused.Error);
        Assert.Contains(named, refused.Message, StringComparison.Ordinal);
    }
}
