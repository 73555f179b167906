
namespace CowScsi.Vdisk.Transfer;

/// <summary>Chooses how an import's source is read.</summary>
internal static class ImportSources
{
    /// <param name="path">A raw or qcow2 image, a device, a pipe, or "-" for standard input.</param>
    /// <param name="environment">Has standard input.</param>
    public static IImportSource Open(string path, CliEnvironment environment)
    {
        if (path == "-")
            return new StreamSource(environment.OpenInput());
        var format = ImageProbe.Detect(path);
        return new StreamSource(new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0));
    }
}
