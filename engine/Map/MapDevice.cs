using System.Buffers;
using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// FASTER's view of its files: each is a file of the store, <c>NAME.K</c> with K from 0, reached through <see cref="StoreDirectory"/>, in
/// chunks of 4096 bytes whose sums are compared when they are read. A chunk that was never written reads as zeros; a read that fails leaves
/// zeros behind, since FASTER looks at the memory whatever it is told. Transfers are carried out by <see cref="MapTransfers"/>.
/// </summary>
internal sealed unsafe class MapDevice : StorageDeviceBase
{
    /// <summary>
    /// What is written goes through a buffer of this size: FASTER may change a record's header while its page is written, and sum and file
    /// must have the same bytes.
    /// </summary>
    private const int CopyBytes = 64 << 10;

    private readonly StoreDirectory directory;
    private readonly MapTransfers transfers;
    private readonly Lock opening = new();
    private readonly byte[] lastChunk = new byte[ChunkSums.ChunkBytes];
    private StoreFile?[] files = [];
    private long lastChunkNumber = -1;
    private bool closed;

    /// <param name="directory">The store's.</param>
    /// <param name="name">Name in it, without the number of the file.</param>
    /// <param name="transfers">Carries reads and writes out.</param>
    /// <param name="sums">Of what the files hold.</param>
    public MapDevice(StoreDirectory directory, string name, MapTransfers transfers, ChunkSums sums)
        : base(name, ChunkSums.ChunkBytes, Devices.CAPACITY_UNSPECIFIED)
    {
        this.directory = directory;
        this.transfers = transfers;
        Sums = sums;
    }

    public ChunkSums Sums { get; }

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

    /// <summary>
    /// The chunk that holds a checkpoint's tail is written again with what comes behind it. So a checkpoint keeps its beginning, and it is
    /// this that is read until the chunk is written anew.
    /// </summary>
    public void SetLastChunk(long chunk, ReadOnlySpan<byte> beginning)
    {
        lastChunk.AsSpan().Clear();
        beginning.CopyTo(lastChunk);
        Sums[chunk] = Crc32C.Compute(lastChunk);
        Volatile.Write(ref lastChunkNumber, chunk);
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

    /// <summary>Reads chunks outside of FASTER, with their sums compared.</summary>
    public FileOutcome Read(int file, long offset, Span<byte> bytes, out string? error) =>
        Read(file, offset, bytes, FirstChunk(file, offset), out error);

    /// <summary>Carries one transfer of whole chunks out: Success, or why not.</summary>
    internal FileOutcome Transfer(bool isWrite, int file, long offset, IntPtr memory, uint length, out string? error)
    {
        var bytes = new Span<byte>((void*)memory, (int)length);
        return isWrite ? Write(file, offset, bytes, out error) : Read(file, offset, bytes, FirstChunk(file, offset), out error);
    }

    private long FirstChunk(int file, long offset) => ((file * Math.Max(SegmentSize, 0)) + offset) / ChunkSums.ChunkBytes;

    private FileOutcome Write(int number, long offset, ReadOnlySpan<byte> bytes, out string? error)
    {
        var file = FileOf(number, create: true);
        var chunk = FirstChunk(number, offset);
        var last = Volatile.Read(ref lastChunkNumber);
        if (last >= chunk && last < chunk + (bytes.Length / ChunkSums.ChunkBytes))
            Volatile.Write(ref lastChunkNumber, -1);
        var copy = ArrayPool<byte>.Shared.Rent(Math.Min(bytes.Length, CopyBytes));
        try
        {
            while (bytes.Length > 0)
            {
                var part = copy.AsSpan(0, Math.Min(bytes.Length, CopyBytes));
                bytes[..part.Length].CopyTo(part);
                for (var at = 0; at < part.Length; at += ChunkSums.ChunkBytes)
                    Sums[chunk++] = Crc32C.Compute(part.Slice(at, ChunkSums.ChunkBytes));
                if (file.Write(part, offset) is var outcome and not FileOutcome.Success)
                {
                    error = $"'{file.Path}': {file.LastError}";
                    return outcome;
                }

                bytes = bytes[part.Length..];
                offset += part.Length;
            }
        }
        finally
        {
            ArrayPool<byte>.Shared.Return(copy);
        }

        error = null;
        return FileOutcome.Success;
    }

    private FileOutcome Read(int number, long offset, Span<byte> bytes, long chunk, out string? error)
    {
        error = null;
        var known = (int)Math.Clamp((Sums.Count - chunk) * ChunkSums.ChunkBytes, 0, bytes.Length);
        bytes[known..].Clear();
        bytes = bytes[..known];
        if (known == 0)
            return FileOutcome.Success;
        var file = FileOf(number, create: false);
        var outcome = ReadUpToEnd(file, bytes, offset);
        if (outcome != FileOutcome.Success)
        {
            error = $"'{file.Path}': {file.LastError}";
            return outcome;
        }

        for (var at = 0; at < bytes.Length; at += ChunkSums.ChunkBytes, chunk++)
        {
            var part = bytes.Slice(at, ChunkSums.ChunkBytes);
            if (chunk == Volatile.Read(ref lastChunkNumber))
                lastChunk.CopyTo(part);
            if (Sums.Matches(chunk, part))
                continue;
            error = $"'{file.Path}' at offset {offset + at}: it does not match its checksum";
            return FileOutcome.Failed;
        }

        return FileOutcome.Success;
    }

    private static FileOutcome ReadUpToEnd(StoreFile file, Span<byte> bytes, long offset)
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
