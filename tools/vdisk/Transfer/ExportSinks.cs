namespace CowScsi.Vdisk.Transfer;

/// <summary>Chooses how an export's target is written.</summary>
internal static class ExportSinks
{
    /// <param name="path">A file to make or replace, a device or pipe to write to, or "-" for standard output.</param>
    /// <param name="environment">Has standard output.</param>
    public static IExportSink Open(string path, CliEnvironment environment)
    {
        if (path == "-")
        {
            if (environment.OutputIsTerminal)
                throw CommandException.Usage("a disk is not written to a terminal; give a file's name, or redirect standard output");
            return new StreamSink(environment.OpenOutput());
        }

        if (Directory.Exists(path))
            throw CommandException.Failed($"'{path}' is a directory");
        // What exists and is no regular file (a device, a pipe) is written in place, front to back; renaming would replace it.
        if (NativeCalls.TryGetKind(path, out var isRegular, out _) && !isRegular)
            return new StreamSink(new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0));
        return new SparseFileSink(path);
    }
}
