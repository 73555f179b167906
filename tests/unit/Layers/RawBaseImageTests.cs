using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

public sealed class RawBaseImageTests : IDisposable
{
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("cowscsi-raw-");

    [Fact]
    public void EveryByte_InPiecesOfAnySizeAndAlignment()
    {
        var content = new byte[(3 << 20) + 77];
        new Random(1).NextBytes(content);
        using var image = Open(Write("disk.raw", content));
        QemuImages.AssertSame(content, image, 1);
    }

    [Fact]
    public void Holes_AreDeallocated()
    {
        var path = PathOf("disk.raw");
        using (var file = File.Create(path))
        {
            file.SetLength(16 << 20);
            file.Position = 4 << 20;
            file.Write(new byte[1 << 20]);
        }

        using var image = Open(path);
        Assert.Equal(16 << 20, image.SizeBytes);
        Assert.Equal(new AllocationRun(0, 4 << 20, AllocationState.Deallocated), image.GetAllocation(0, 16 << 20));
        Assert.Equal(new AllocationRun(4 << 20, 1 << 20, AllocationState.Mapped), image.GetAllocation(4 << 20, 12 << 20));
        Assert.Equal(new AllocationRun(4 << 20, 4096, AllocationState.Mapped), image.GetAllocation(4 << 20, 4096));
        Assert.Equal(new AllocationRun(5 << 20, 11 << 20, AllocationState.Deallocated), image.GetAllocation(5 << 20, 11 << 20));
    }

    [SkippableFact]
    public void ABlockDevice_IsReadToItsEnd()
    {
        var content = new byte[(1 << 20) + 512];
        new Random(2).NextBytes(content);
        var path = Write("disk.raw", content);
        var device = Output("losetup", "-f", "--show", "-r", path);
        Skip.If(device is null, "no loop device can be had (losetup, its rights, or /dev/loop-control is missing)");
        try
        {
            using var image = Open(device);
            Assert.Equal(BaseImageFormat.Raw, BaseImages.Detect(device));
            QemuImages.AssertSame(content, image, 2);
        }
        finally
        {
            Output("losetup", "-d", device);
        }
    }

    [Fact]
    public void AnEmptyFile_IsAnEmptyImage()
    {
        using var image = Open(Write("empty", []));
        Assert.Equal(0, image.SizeBytes);
        Assert.True(image.TryRead(0, default, mayWait: false, out var outcome));
        Assert.Equal(BlockOutcome.Success, outcome);
    }

    [Fact]
    public void AFileThatBecameShorter_IsUnreadableThere()
    {
        var path = Write("disk.raw", new byte[1 << 20]);
        using var image = Open(path);
        using (var file = File.OpenWrite(path))
            file.SetLength(4096);
        using var memory = new NativeBuffer(8192);
        Assert.True(image.TryRead(0, memory.Buffer.Slice(0, 4096), mayWait: true, out var outcome));
        Assert.Equal(BlockOutcome.Success, outcome);
        Assert.False(image.TryRead(4096, memory.Buffer, mayWait: false, out _));
        Assert.True(image.TryRead(4096, memory.Buffer, mayWait: true, out outcome));
        Assert.Equal(BlockOutcome.Unreadable, outcome);
    }

    [Fact]
    public void ReadsBeyondTheEnd_AreTheCallersMistake()
    {
        using var image = Open(Write("disk.raw", new byte[4096]));
        using var memory = new NativeBuffer(4096);
        Assert.Throws<ArgumentOutOfRangeException>(() => image.TryRead(1, memory.Buffer, true, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => image.TryRead(-1, memory.Buffer, true, out _));
        Assert.Throws<ArgumentOutOfRangeException>(() => image.GetAllocation(4096, 1));
    }

    [Fact]
    public void WhatIsNotADiskImage_IsRefusedWithoutHanging()
    {
        Assert.Equal(StoreError.Io, Refused(PathOf("missing")).Error);
        Assert.Equal(StoreError.Invalid, Refused(folder.FullName).Error);
        Assert.Equal(StoreError.Invalid, Refused("/dev/null").Error);
        Assert.Equal(StoreError.Invalid, Refused(string.Empty).Error);
        Assert.Equal(StoreError.Invalid, Refused("a\0b").Error);
        using var mkfifo = Process.Start("mkfifo", [PathOf("fifo")]);
        mkfifo.WaitForExit();
        Assert.Equal(StoreError.Invalid, Refused(PathOf("fifo")).Error);
        Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => BaseImages.Detect(PathOf("fifo"))).Error);
    }

    [Fact]
    public void Detection_KnowsQcow2AndRaw_AndNamesOtherFormats()
    {
        Assert.Equal(BaseImageFormat.Raw, BaseImages.Detect(Write("a", [])));
        Assert.Equal(BaseImageFormat.Raw, BaseImages.Detect(Write("b", new byte[100])));
        Assert.Equal(BaseImageFormat.Qcow2, BaseImages.Detect(Write("c", [0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 3])));
        Assert.Contains("version 1", NotDetected([0x51, 0x46, 0x49, 0xFB, 0, 0, 0, 1]).Message, StringComparison.Ordinal);
        Assert.Contains("VHDX", NotDetected("vhdxfile"u8.ToArray()).Message, StringComparison.Ordinal);
        Assert.Contains("VMDK", NotDetected("KDMV"u8.ToArray()).Message, StringComparison.Ordinal);
        Assert.Contains("VDI", NotDetected([.. new byte[0x40], 0x7F, 0x10, 0xDA, 0xBE]).Message, StringComparison.Ordinal);
    }

    public void Dispose() => folder.Delete(recursive: true);

    /// <summary>What a program prints, or null where it fails or is missing.</summary>
    private static string? Output(string program, params string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        try
        {
            using var process = Process.Start(start)!;
            var output = process.StandardOutput.ReadToEnd().Trim();
            process.WaitForExit();
            return process.ExitCode == 0 ? output : null;
        }
        catch (System.ComponentModel.Win32Exception)
        {
            return null;
        }
    }

    private static BaseImage Open(string path) => BaseImages.Open(new BaseImageReference(path, BaseImageFormat.Raw));

    private static StoreException Refused(string path)
    {
        var refused = Assert.Throws<StoreException>(() => Open(path));
        Assert.DoesNotContain('\n', refused.Message);
        return refused;
    }

    private StoreException NotDetected(byte[] content)
    {
        var path = Write("other", content);
        var refused = Assert.Throws<StoreException>(() => BaseImages.Detect(path));
        Assert.Equal(StoreError.Unsupported, refused.Error);
        return refused;
    }

    private string PathOf(string name) => Path.Combine(folder.FullName, name);

    private string Write(string name, byte[] content)
    {
        File.WriteAllBytes(PathOf(name), content);
        return PathOf(name);
    }
}
