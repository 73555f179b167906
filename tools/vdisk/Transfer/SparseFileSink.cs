using CowScsi.Vdisk.Text;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Vdisk.Transfer;

/// <summary>
/// Writes a sparse file under a temporary name in the same directory and renames it when it is complete and durable: a reader of the file
/// sees the old contents or all of the new, and a failed export leaves nothing behind.
/// </summary>
internal sealed class SparseFileSink : IExportSink
{
    private readonly string path;
    private readonly string temporaryPath;
    private SafeFileHandle? handle;
    private bool isComplete;

    public SparseFileSink(string path)
    {
        // A symbolic link is followed, not replaced.
        this.path = new FileInfo(path).LinkTarget is null
            ? Path.GetFullPath(path)
            : File.ResolveLinkTarget(path, returnFinalTarget: true)!.FullName;
        temporaryPath = $"{this.path}.{Environment.ProcessId}.partial";
    }

    public ValueTask BeginAsync(long sizeBytes, CancellationToken cancellation)
    {
        handle = File.OpenHandle(temporaryPath, FileMode.CreateNew, FileAccess.Write, FileShare.Read, FileOptions.None);
        try
        {
            RandomAccess.SetLength(handle, sizeBytes);
        }
        catch (ArgumentOutOfRangeException error)
        {
            throw CommandException.Failed($"the file system of '{path}' cannot hold a file of {ByteSize.Format(sizeBytes)}", error);
        }

        return ValueTask.CompletedTask;
    }

    public async ValueTask WriteAsync(long offsetBytes, ReadOnlyMemory<byte> bytes, CancellationToken cancellation) =>
        await RandomAccess.WriteAsync(handle!, bytes, offsetBytes, cancellation);

    public ValueTask CompleteAsync(CancellationToken cancellation)
    {
        RandomAccess.FlushToDisk(handle!);
        handle!.Dispose();
        File.Move(temporaryPath, path, overwrite: true);
        isComplete = true;
        return ValueTask.CompletedTask;
    }

    public ValueTask DisposeAsync()
    {
        if (handle is not null)
        {
            handle.Dispose();
            if (!isComplete)
                File.Delete(temporaryPath);
        }

        return ValueTask.CompletedTask;
    }
}
