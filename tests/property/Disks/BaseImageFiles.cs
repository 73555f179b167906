using System.Diagnostics;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>One base image, as a raw file and as qcow2, shared by all histories: it is never written, which is checked at the end.</summary>
public sealed class BaseImageFiles : IDisposable
{
    /// <summary>Ends inside a block and inside a page.</summary>
    private const int LengthBytes = (1 << 20) + 2560;

    private const string QemuImg = "/usr/bin/qemu-img";

    private readonly TemporaryFolder folder = new();

    public BaseImageFiles()
    {
        Bytes = new byte[LengthBytes];
        Content.Fill(Bytes, seed: 20_26);
        File.WriteAllBytes(folder.At("base.raw"), Bytes);
    }

    public static bool HasQemu => File.Exists(QemuImg);

    public byte[] Bytes { get; }

    public BaseImageReference? Reference(BaseKind kind)
    {
        if (kind == BaseKind.None)
            return null;
        if (kind == BaseKind.Raw)
            return new BaseImageReference(folder.At("base.raw"), BaseImageFormat.Raw);
        var path = folder.At("base.qcow2");
        if (!File.Exists(path))
        {
            using var convert = Process.Start(new ProcessStartInfo(QemuImg, ["convert", "-f", "raw", "-O", "qcow2", "-c", folder.At("base.raw"), path]))!;
            convert.WaitForExit();
            if (convert.ExitCode != 0)
                throw new InvalidOperationException("qemu-img convert failed");
        }

        return new BaseImageReference(path, BaseImageFormat.Qcow2);
    }

    public void Dispose()
    {
        var unchanged = File.ReadAllBytes(folder.At("base.raw")).AsSpan().SequenceEqual(Bytes);
        folder.Dispose();
        if (!unchanged)
            throw new InvalidOperationException("a base image was written");
    }
}
