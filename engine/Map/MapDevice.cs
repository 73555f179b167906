using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// FASTER's view of its files: each is a file of the store, <c>NAME.K</c> with K from 0, reached through <see cref="StoreDirectory"/>. What
/// was never written reads as zeros; a read that fails leaves zeros behind, since FASTER looks at the memory whatever it is told.
/// Transfers are carried out by <see cref="MapTransfers"/>.
/// </summary>
internal sealed unsafe class MapDevice : StorageDeviceBase
{
    private readonly StoreDirectory directory;
    private readonly MapTransfers transfers;
    private readonly Lock opening = new();
    private StoreFile?[] files = [];
    private bool closed;

    /// <param name="directory">The store's.</param>
    /// <param name="name">Name in it, without the number of the file.</param>
    /// <param name="transfers">Carries reads and writes out.</param>
    public MapDevice(StoreDirectory directory, string name, MapTransfers transfers)
        : base(name, StoreFormat.SectorBytes, Devices.CAPACITY_UNSPECIFIED)
    {
        this.directory = directory;
        this.transfers = transfers;
    }

    public static string NameOf(string name, int file) => $"{name}.{file}";

    public override void ReadAsync(int segmentId, ulong sourceAddress, IntPtr destinationAddress, uint readLength, DeviceIOCompletionCallback callback, object context) =>
        transfers.Begin(this, isWrite: false, segmentId, (long)sourceAddress, destinationAddress, readLength, callback, context);

    public override void WriteAsync(IntPtr sourceAddress, int segmentId, ulong destinationAddress, uint numBytesToWrite, DeviceIOCompletionCallback callback, object context) =>
        transfers.Begin(this, isWrite: true, segmentId, (long)destinationAddress, sourceAddress, numBytesToWrite, callback, context);

    /// <summary>Makes what was written durable; the names are the directory's to flush.</summary>
    public void Flush()
    {
        // An empty log gets its first file too: a missing one must mean that it was lost.
        _ = FileOf(0, create: true);
        foreach (var file in Volatile.Read(ref files))
        {
            if (file is not null && file.Flush() != FileOutcome.Success)
                throw new StoreException(StoreError.Io, $"flushing '{file.Path}' failed: {file.LastError}");
        }
    }

    public override long GetFileSize(int segment) => FileOf(segment, create: false).LengthBytes;

    public override void RemoveSegment(int segment)
    {
        lock (opening)
        {
            if (segment < files.Length)
            {
                files[segment]?.Dispose();
                files[segment] = null;
            }
        }

        directory.Delete(NameOf(FileName, segment));
    }

    public override void RemoveSegmentAsync(int segment, AsyncCallback callback, IAsyncResult result)
    {
        RemoveSegment(segment);
        callback(result);
    }

    public override void Reset() => CloseFiles();

    public override void Dispose()
    {
        closed = true;
        CloseFiles();
    }

    /// <summary>Carries one transfer out: Success, or why not. A file that ends inside a read goes on with zeros.</summary>
    internal FileOutcome Transfer(bool isWrite, int number, long offset, IntPtr memory, uint length, out string? error)
    {
        var file = FileOf(number, create: isWrite);
        var bytes = new Span<byte>((void*)memory, (int)length);
        var outcome = isWrite ? file.Write(bytes, offset) : Read(file, bytes, offset);
        error = outcome == FileOutcome.Success ? null : $"'{file.Path}': {file.LastError}";
        return outcome;
    }

    private static FileOutcome Read(StoreFile file, Span<byte> bytes, long offset)
    {
        var outcome = file.Read(bytes, offset);
        if (outcome != FileOutcome.EndOfFile)
            return outcome;
        var there = (int)Math.Clamp(file.LengthBytes - offset, 0, bytes.Length);
        bytes[there..].Clear();
        return there == 0 ? FileOutcome.Success : file.Read(bytes[..there], offset);
    }

    private StoreFile FileOf(int number, bool create)
    {
        var open = Volatile.Read(ref files);
        return number < open.Length && Volatile.Read(ref open[number]) is { } file ? file : Open(number, create);
    }

    private StoreFile Open(int number, bool create)
    {
        lock (opening)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            if (number < files.Length && files[number] is { } file)
                return file;
            if (number >= files.Length)
            {
                var more = new StoreFile?[number + 1];
                files.CopyTo(more, 0);
                Volatile.Write(ref files, more);
            }

            var name = NameOf(FileName, number);
            file = create && !directory.Exists(name) ? directory.Create(name) : directory.Open(name, writable: true);
            Volatile.Write(ref files[number], file);
            return file;
        }
    }

    private void CloseFiles()
    {
        lock (opening)
        {
            foreach (var file in files)
                file?.Dispose();
            files = [];
        }
    }
}
