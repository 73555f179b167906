using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>A folder of images made by the real qemu-img and qemu-io; gone when the test is.</summary>
internal sealed class QemuImages : IDisposable
{
    internal const string MissingReason = "qemu-img and qemu-io are not installed (Debian: apt install qemu-utils)";

    private static readonly bool Installed = File.Exists("/usr/bin/qemu-img") && File.Exists("/usr/bin/qemu-io");

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("cowscsi-images-");

    internal QemuImages() => Skip.IfNot(Installed, MissingReason);

    internal string PathOf(string name) => Path.Combine(folder.FullName, name);

    internal void Img(params string[] arguments) => Run("qemu-img", arguments);

    /// <summary>Makes a qcow2 image of a raw one.</summary>
    internal void Convert(string raw, string name, string options = "compat=1.1", bool compress = false)
    {
        string[] compressed = compress ? ["-c"] : [];
        Img(["convert", .. compressed, "-f", "raw", "-O", "qcow2", "-o", options, PathOf(raw), PathOf(name)]);
    }

    /// <summary>Makes a qcow2 image over another.</summary>
    internal void Overlay(string name, string backing, string backingFormat, string options, string size) =>
        Img("create", "-f", "qcow2", "-F", backingFormat, "-b", backing, "-o", options, PathOf(name), size);

    /// <summary>Runs qemu-io commands on an image.</summary>
    internal void Io(string name, params string[] commands)
    {
        var arguments = new List<string>();
        foreach (var command in commands)
        {
            arguments.Add("-c");
            arguments.Add(command);
        }

        arguments.Add(PathOf(name));
        Run("qemu-io", [.. arguments]);
    }

    /// <summary>The disk's bytes as qemu sees them.</summary>
    internal byte[] Expected(string name)
    {
        Img("convert", "-O", "raw", PathOf(name), PathOf("expected.raw"));
        return File.ReadAllBytes(PathOf("expected.raw"));
    }

    internal BaseImage Open(string name, BaseImageFormat format = BaseImageFormat.Qcow2) =>
        BaseImages.Open(new BaseImageReference(PathOf(name), format));

    internal StoreException Refused(string name, BaseImageFormat format = BaseImageFormat.Qcow2)
    {
        var refused = Assert.Throws<StoreException>(() => Open(name, format));
        Assert.DoesNotContain('\n', refused.Message);
        return refused;
    }

    /// <summary>A raw disk of zeros, text and noise in runs of 512 bytes to 300 KiB.</summary>
    internal byte[] MakeRaw(string name, int lengthBytes, int seed)
    {
        var random = new Random(seed);
        var content = new byte[lengthBytes];
        for (var at = 0; at < lengthBytes;)
        {
            var run = Math.Min(random.Next(1, 600) * 512, lengthBytes - at);
            switch (random.Next(3))
            {
                case 1:
                    random.NextBytes(content.AsSpan(at, run));
                    break;
                case 2:
                    for (var i = 0; i < run; i++)
                        content[at + i] = (byte)(i % 61 + at % 67);
                    break;
            }

            at += run;
        }

        File.WriteAllBytes(PathOf(name), content);
        return content;
    }

    /// <summary>Every byte of the image, in pieces of random size and alignment, waiting and not, and its allocation map.</summary>
    internal static void AssertSame(byte[] expected, BaseImage image, int seed)
    {
        Assert.Equal(expected.Length, image.SizeBytes);
        var random = new Random(seed);
        using var memory = new NativeBuffer(1 << 20);
        for (var at = 0; at < expected.Length;)
        {
            var length = Math.Min(random.Next(4) == 0 ? random.Next(1, 1 << 20) : random.Next(1, 70_000), expected.Length - at);
            Check(expected, image, at, Scatter(memory, length, random), seed);
            at += length;
        }

        for (var i = 0; i < 300; i++)
        {
            var length = random.Next(1, Math.Min(100_000, expected.Length));
            Check(expected, image, random.Next(0, expected.Length - length + 1), Scatter(memory, length, random), seed);
        }

        for (long at = 0; at < expected.Length;)
        {
            var run = image.GetAllocation(at, expected.Length - at);
            Assert.Equal(at, run.OffsetBytes);
            Assert.InRange(run.LengthBytes, 1, expected.Length - at);
            if (run.State == AllocationState.Deallocated)
                Assert.Equal(-1, expected.AsSpan((int)at, (int)run.LengthBytes).IndexOfAnyExcept((byte)0));
            at += run.LengthBytes;
        }
    }

    public void Dispose() => folder.Delete(recursive: true);

    private static void Check(byte[] expected, BaseImage image, int at, IoBuffer destination, int seed)
    {
        var there = new byte[destination.Length];
        foreach (var mayWait in new[] { false, true })
        {
            Poison(destination);
            if (!image.TryRead(at, destination, mayWait, out var outcome))
            {
                Assert.False(mayWait, "a read that may wait always has an outcome");
                continue;
            }

            Assert.Equal(BlockOutcome.Success, outcome);
            destination.CopyTo(there);
            var same = expected.AsSpan(at, there.Length).CommonPrefixLength(there);
            Assert.True(same == there.Length, $"seed {seed}: byte {at + same} differs (read of {there.Length} at {at}, mayWait {mayWait})");
        }
    }

    private static void Poison(IoBuffer buffer)
    {
        while (!buffer.IsEmpty)
        {
            var piece = buffer.FirstSpan;
            piece.Fill(0xA5);
            buffer = buffer.Slice(piece.Length);
        }
    }

    /// <summary>The first bytes of the memory, cut into 1 to 7 slices.</summary>
    private static IoBuffer Scatter(NativeBuffer memory, int length, Random random)
    {
        var vectors = new IoSlice[1];
        memory.Buffer.CopyVectorsTo(vectors, out _);
        var start = vectors[0].Address;
        var slices = new List<IoSlice>();
        var at = 0;
        for (var i = random.Next(7); i > 0 && at < length; i--)
        {
            var piece = random.Next(0, length - at + 1);
            slices.Add(new IoSlice(start + at, piece));
            at += piece;
        }

        slices.Add(new IoSlice(start + at, length - at));
        return new IoBuffer([.. slices], 0, slices.Count);
    }

    private static void Run(string program, string[] arguments)
    {
        // QEMU measures the processor for LUKS, and gives up where the kernel's clock of its thread did not move meanwhile.
        var (status, said) = TryRun(program, arguments);
        for (var again = 0; again < 20 && said.Contains("Unable to get accurate CPU usage", StringComparison.Ordinal); again++)
            (status, said) = TryRun(program, arguments);
        Assert.True(status == 0, $"{program} {string.Join(' ', arguments)}: {said}");
    }

    private static (int Status, string Said) TryRun(string program, string[] arguments)
    {
        var start = new ProcessStartInfo(program, arguments)
        {
            RedirectStandardOutput = true,
            RedirectStandardError = true,
            UseShellExecute = false,
        };
        using var process = Process.Start(start)!;
        var errors = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, $"{output} {errors.GetAwaiter().GetResult()}");
    }
}
