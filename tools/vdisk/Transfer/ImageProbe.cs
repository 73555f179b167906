using CowScsi.Layers;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Transfer;

/// <summary>Tells the format of an image by its first bytes, where the user does not.</summary>
internal static class ImageProbe
{
    /// <summary>docs/interop/qcow2.txt: "QFI" and 0xFB.</summary>
    private static ReadOnlySpan<byte> Qcow2Magic => [(byte)'Q', (byte)'F', (byte)'I', 0xFB];

    public static bool IsQcow2(ReadOnlySpan<byte> start) => start.StartsWith(Qcow2Magic);

    /// <param name="path">A file that has to exist.</param>
    /// <param name="format">What the user says it is, or null.</param>
    public static BaseImageReference Refer(string path, string? format)
    {
        RequireFile(path);
        // The path is kept absolute: the store opens it later, and a server may run elsewhere.
        return new BaseImageReference(Path.GetFullPath(path), format is null ? BaseImages.Detect(path) : CodecNames.ToBaseFormat(format));
    }

    public static void RequireFile(string path)
    {
        if (Directory.Exists(path))
            throw CommandException.Usage($"'{path}' is a directory, not an image");
        if (!File.Exists(path))
            throw new CommandException(ExitCode.NotFound, $"there is no file '{path}'");
    }
}
