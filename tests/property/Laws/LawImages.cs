using System.Diagnostics;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Base images of lengths that end in a sector, in a block and in a page, raw and as qcow2. Never written, which is checked.</summary>
public sealed class LawImages : IDisposable
{
    private const string QemuImg = "/usr/bin/qemu-img";
    private const int SectorBytes = 512;

    /// <summary>One byte more than a page; a block less one sector; a sector, of a disk of many pages.</summary>
    private static readonly int[] Lengths = [65_537, 4096 - SectorBytes, 300_123];

    private readonly TemporaryFolder folder = new();
    private readonly byte[][] contents;

    public LawImages()
    {
        contents = new byte[Lengths.Length][];
        for (var i = 0; i < Lengths.Length; i++)
        {
            contents[i] = new byte[Lengths[i]];
            new Random(i).NextBytes(contents[i]);
            contents[i].AsSpan(Lengths[i] / 3, Lengths[i] / 4).Clear();
            File.WriteAllBytes(Raw(i), contents[i]);
            if (HasQemu)
                Convert(i);
        }
    }

    public static bool HasQemu => File.Exists(QemuImg);

    /// <summary>Null where there is no base; the raw image where qemu-img is missing.</summary>
    public BaseImageReference? Reference(BaseKind kind, int choice)
    {
        var image = choice % Lengths.Length;
        return kind switch
        {
            BaseKind.None => null,
            BaseKind.Qcow2 when HasQemu => new BaseImageReference(Qcow2(image), BaseImageFormat.Qcow2),
            _ => new BaseImageReference(Raw(image), BaseImageFormat.Raw),
        };
    }

    public void Dispose()
    {
        var changed = Enumerable.Range(0, Lengths.Length).Where(i => !File.ReadAllBytes(Raw(i)).AsSpan().SequenceEqual(contents[i])).ToList();
        folder.Dispose();
        if (changed.Count > 0)
            throw new InvalidOperationException($"base image {changed[0]} was written");
    }

    private string Raw(int image) => folder.At($"base-{image}.raw");

    private string Qcow2(int image) => folder.At($"base-{image}.qcow2");

    private void Convert(int image)
    {
        using var convert = Process.Start(new ProcessStartInfo(QemuImg, ["convert", "-f", "raw", "-O", "qcow2", "-c", Raw(image), Qcow2(image)]))!;
        convert.WaitForExit();
        if (convert.ExitCode != 0)
            throw new InvalidOperationException("qemu-img convert failed");
    }
}
