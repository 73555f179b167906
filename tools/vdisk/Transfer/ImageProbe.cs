using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>Tells the format of an image by its first bytes.</summary>
internal static class ImageProbe
{
    /// <summary>docs/interop/qcow2.txt: "QFI" and 0xFB.</summary>
    private static ReadOnlySpan<byte> Qcow2Magic => [(byte)'Q', (byte)'F', (byte)'I', 0xFB];

    public static bool IsQcow2(ReadOnlySpan<byte> start) => start.StartsWith(Qcow2Magic);

    /// <summary>The format of a file that exists and can be read; a command's error else.</summary>
    public static BaseImageFormat Detect(string path)
    {
        if (!File.Exists(path))
            throw new CommandException(ExitCode.NotFound, Directory.Exists(path) ? $"'{path}' is a directory" : $"there is no file '{path}'");
        using var file = LinuxFile.OpenRead(path);
        Span<byte> start = stackalloc byte[Qcow2Magic.Length];
        return file.Read(start, 0) == FileOutcome.Success && IsQcow2(start) ? BaseImageFormat.Qcow2 : BaseImageFormat.Raw;
    }
}
