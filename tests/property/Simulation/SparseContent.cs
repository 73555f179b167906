namespace CowScsi.Tests.Property;

/// <summary>
/// A file's bytes in memory: chunks of 4 KiB, absent where all are zeros. A copy shares chunks; whoever changes one first makes it its own.
/// Not for several threads at once.
/// </summary>
internal sealed class SparseContent
{
    public const int ChunkBytes = 4096;

    private readonly Dictionary<long, Chunk> chunks;
    private object owner = new();
    private ulong hash;
    private bool isHashed;

    public SparseContent()
        : this([], 0)
    {
    }

    private SparseContent(Dictionary<long, Chunk> chunks, long lengthBytes)
    {
        this.chunks = chunks;
        LengthBytes = lengthBytes;
    }

    private sealed class Chunk(byte[] bytes, object owner)
    {
        public byte[] Bytes { get; } = bytes;

        public object Owner { get; } = owner;

        public ulong Hash { get; set; }

        public bool IsHashed { get; set; }
    }

    public long LengthBytes { get; private set; }

    /// <summary>Bytes that are not holes, to the chunk.</summary>
    public long StoredBytes => chunks.Count * (long)ChunkBytes;

    public SparseContent Copy()
    {
        owner = new object(); // From here on both own nothing that they share.
        return new SparseContent(new Dictionary<long, Chunk>(chunks), LengthBytes);
    }

    /// <summary>Bytes behind the end read as zeros here; whoever reads looks at the length.</summary>
    public void Read(long offset, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            var inChunk = (int)(offset % ChunkBytes);
            var part = destination[..Math.Min(ChunkBytes - inChunk, destination.Length)];
            if (chunks.TryGetValue(offset / ChunkBytes, out var chunk))
                chunk.Bytes.AsSpan(inChunk, part.Length).CopyTo(part);
            else
                part.Clear();
            destination = destination[part.Length..];
            offset += part.Length;
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        isHashed = false;
        LengthBytes = Math.Max(LengthBytes, offset + source.Length);
        while (source.Length > 0)
        {
            var inChunk = (int)(offset % ChunkBytes);
            var part = source[..Math.Min(ChunkBytes - inChunk, source.Length)];
            var number = offset / ChunkBytes;
            if (chunks.ContainsKey(number) || part.ContainsAnyExcept((byte)0))
                part.CopyTo(OwnChunk(number).AsSpan(inChunk));
            source = source[part.Length..];
            offset += part.Length;
        }
    }

    public void SetLength(long lengthBytes)
    {
        isHashed = false;
        if (lengthBytes < LengthBytes)
        {
            var kept = (lengthBytes + ChunkBytes - 1) / ChunkBytes;
            List<long>? dropped = null;
            foreach (var number in chunks.Keys)
            {
                if (number >= kept)
                    (dropped ??= []).Add(number);
            }

            foreach (var number in dropped ?? [])
                chunks.Remove(number);
            var inLast = (int)(lengthBytes % ChunkBytes);
            if (inLast != 0 && chunks.ContainsKey(lengthBytes / ChunkBytes))
                OwnChunk(lengthBytes / ChunkBytes).AsSpan(inLast).Clear();
        }

        LengthBytes = lengthBytes;
    }

    /// <summary>Equal for equal contents, holes or not.</summary>
    public ulong Hash()
    {
        if (isHashed)
            return hash;
        hash = Fingerprint.Mix(1, (ulong)LengthBytes);
        foreach (var (number, chunk) in chunks)
        {
            if (!chunk.IsHashed)
            {
                chunk.Hash = Fingerprint.Of(chunk.Bytes);
                chunk.IsHashed = true;
            }

            if (chunk.Hash != 0)
                hash ^= Fingerprint.Mix((ulong)number + 2, chunk.Hash);
        }

        isHashed = true;
        return hash;
    }

    private byte[] OwnChunk(long number)
    {
        if (chunks.TryGetValue(number, out var chunk) && chunk.Owner == owner)
        {
            chunk.IsHashed = false;
            return chunk.Bytes;
        }

        var bytes = new byte[ChunkBytes];
        chunk?.Bytes.CopyTo(bytes, 0);
        chunks[number] = new Chunk(bytes, owner);
        return bytes;
    }
}
