using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// CRC-32C of each chunk (4096 bytes) of one of FASTER's files, by the chunk's number in address order. FASTER has no checksums, and follows
/// addresses that it reads: a flipped bit could show an older record as the newest, or lead it round in circles. So every chunk is summed
/// when it is written, and compared when it is read. For the record log the sums of full chunks are kept in a file beside it, which only
/// grows; a checkpoint names how many of them count, and their checksum. Entries are set by the thread that writes the chunk; FASTER reads a
/// chunk only once the write of it has ended.
/// </summary>
internal sealed class ChunkSums
{
    public const int ChunkBytes = StoreFormat.SectorBytes;

    /// <summary>Sums that are kept together in memory: of 4 MiB of a file.</summary>
    private const int PartSums = 1024;

    private readonly Lock growing = new();
    private uint[]?[] parts = [];
    private long count;

    /// <summary>Chunks that have a sum; those behind were never written.</summary>
    public long Count => Volatile.Read(ref count);

    public uint this[long chunk]
    {
        get => Volatile.Read(ref parts)[chunk / PartSums]![chunk % PartSums];
        set
        {
            var index = chunk / PartSums;
            var all = Volatile.Read(ref parts);
            if (index >= all.Length || Volatile.Read(ref all[index]) is null)
                all = Grow(index);
            all[index]![chunk % PartSums] = value;
            long known;
            while ((known = Volatile.Read(ref count)) <= chunk && Interlocked.CompareExchange(ref count, chunk + 1, known) != known)
            {
            }
        }
    }

    /// <summary>True where the chunk has a sum and it is the one of these bytes.</summary>
    public bool Matches(long chunk, ReadOnlySpan<byte> bytes) => chunk < Count && Crc32C.Compute(bytes) == this[chunk];

    /// <summary>The sums from one chunk to before another, as they are stored: u32 each, little-endian.</summary>
    public byte[] ToBytes(long from, long end)
    {
        var bytes = new byte[(end - from) * sizeof(uint)];
        for (var chunk = from; chunk < end; chunk++)
            BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan((int)(chunk - from) * sizeof(uint)), this[chunk]);
        return bytes;
    }

    public void Take(long from, ReadOnlySpan<byte> bytes)
    {
        for (; bytes.Length > 0; bytes = bytes[sizeof(uint)..])
            this[from++] = BinaryPrimitives.ReadUInt32LittleEndian(bytes);
    }

    private uint[]?[] Grow(long index)
    {
        lock (growing)
        {
            if (index >= parts.Length)
            {
                var more = new uint[]?[Math.Max(index + 1, parts.Length * 2L)];
                parts.CopyTo(more, 0);
                Volatile.Write(ref parts, more);
            }

            if (parts[index] is null)
                Volatile.Write(ref parts[index], new uint[PartSums]);
            return parts;
        }
    }
}
