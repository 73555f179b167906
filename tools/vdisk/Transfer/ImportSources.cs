namespace CowScsi.Vdisk.Transfer;

/// <summary>Chooses how an import's source is read.</summary>
internal static class ImportSources
{
    /// <param name="path">A raw or qcow2 image, a device, a pipe, or "-" for standard input.</param>
    /// <param name="format">What the user says it is, or null.</param>
    /// <param name="environment">Has standard input.</param>
    public static IImportSource Open(string path, string? format, CliEnvironment environment)
    {
        if (path == "-")
            return new StreamSource(environment.OpenInput());
        ImageProbe.RequireFile(path);
        // A pipe, as shells make them for <(command), can be read once, front to back.
        return NativeCalls.TryGetKind(path, out _, out var isPipe) && isPipe
            ? new StreamSource(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0))
            : new ImageSource(ImageProbe.Refer(path, format));
    }
}
