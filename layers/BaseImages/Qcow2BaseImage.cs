using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// A qcow2 image of version 2 or 3, read-only, with its backing chain. The file's size is taken once, when it is opened; nothing may
/// write to it meanwhile.
/// </summary>
/// <remarks>
/// <para>Every L1 entry is checked when the image is opened (see <see cref="ReadL1"/>); L2 tables and clusters are checked when they are
/// read, and what breaks the format reads as Unreadable, never as zeros.</para>
/// <para>A cluster that begins inside the file and reaches beyond its end reads zeros there, as in qemu: a writer need not store the tail
/// of the last cluster.</para>
/// </remarks>
internal sealed class Qcow2BaseImage : BaseImage
{
    private const ulong L1OffsetMask = 0x00FF_FFFF_FFFF_FE00;
    private const ulong L1CopiedFlag = 1UL << 63;

    private readonly LinuxFile file;
    private readonly Qcow2Header header;
    private readonly Qcow2Mapping mapping;
    private readonly long fileBytes;
    private readonly BaseImage? backing;

    /// <summary>File offsets of the L2 tables; 0: none.</summary>
    private readonly ulong[] l1;
    private readonly Qcow2TableCache tables;
    private readonly Qcow2ClusterCache clusters;
    private readonly int sliceBytes;

    private Qcow2BaseImage(LinuxFile file, Qcow2Header header, long fileBytes, ulong[] l1, BaseImage? backing)
    {
        this.file = file;
        this.header = header;
        this.fileBytes = fileBytes;
        this.l1 = l1;
        this.backing = backing;
        mapping = new Qcow2Mapping(header, fileBytes);
        sliceBytes = Math.Min(header.ClusterBytes, Qcow2TableCache.SliceBytesMax);
        tables = new Qcow2TableCache(sliceBytes);
        clusters = new Qcow2ClusterCache(file, header, mapping);
    }

    public override long SizeBytes => header.SizeBytes;

    internal static Qcow2BaseImage Open(string path, BaseImageChain chain)
    {
        var file = LinuxFile.OpenRead(path);
        try
        {
            var fileBytes = file.SeekEnd();
            var firstCluster = new byte[(int)Math.Min(fileBytes, 1 << Qcow2Header.ClusterBitsMax)];
            Require(file.Read(firstCluster, 0), file, "header");
            var header = Qcow2Header.Read(firstCluster, fileBytes, path);
            if (header.Compression == Qcow2Compression.Zstandard)
                Zstd.Require();
            chain.TakeTableBytes(path, (long)header.L1Entries * sizeof(ulong));
            var l1 = ReadL1(file, header, fileBytes);
            return new Qcow2BaseImage(file, header, fileBytes, l1, chain.OpenBacking(path, header));
        }
        catch
        {
            file.Dispose();
            throw;
        }
    }

    public override bool TryRead(long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome)
    {
        ImageFile.CheckRange(offsetBytes, destination.Length, SizeBytes);
        while (!destination.IsEmpty)
        {
            if (!TryFindRun(offsetBytes, destination.Length, mayWait, out var run) ||
                !TryReadRun(run, offsetBytes, destination.Slice(0, run.LengthBytes), mayWait, out outcome))
            {
                outcome = BlockOutcome.Unreadable;
                return false;
            }

            if (outcome != BlockOutcome.Success)
                return true;
            offsetBytes += run.LengthBytes;
            destination = destination.Slice(run.LengthBytes);
        }

        outcome = BlockOutcome.Success;
        return true;
    }

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes)
    {
        ImageFile.CheckRange(offsetBytes, lengthBytes, SizeBytes);
        _ = TryFindRun(offsetBytes, lengthBytes, mayWait: true, out var run);
        if (run.State == Qcow2State.Unallocated && backing is not null && offsetBytes < backing.SizeBytes)
            return backing.GetAllocation(offsetBytes, Math.Min(run.LengthBytes, backing.SizeBytes - offsetBytes));
        var isEmpty = run.State is Qcow2State.Unallocated or Qcow2State.Zero;
        return new AllocationRun(offsetBytes, run.LengthBytes, isEmpty ? AllocationState.Deallocated : AllocationState.Mapped);
    }

    public override void Dispose()
    {
        file.Dispose();
        backing?.Dispose();
    }

    /// <summary>
    /// Reads and checks the L1 table. An L1 entry is valid if and only if (1) bits 0 to 8 and 56 to 62 are 0, (2) its offset is a multiple
    /// of the cluster size, (3) the whole L2 table there lies inside the file.
    /// </summary>
    private static ulong[] ReadL1(LinuxFile file, Qcow2Header header, long fileBytes)
    {
        var entries = new ulong[header.L1Entries];
        Require(file.Read(MemoryMarshal.AsBytes(entries.AsSpan()), header.L1OffsetBytes), file, "L1 table");
        BinaryPrimitives.ReverseEndianness(entries, entries);
        for (var i = 0; i < entries.Length; i++)
        {
            var offset = entries[i] & L1OffsetMask;
            var broken =
                (entries[i] & ~(L1OffsetMask | L1CopiedFlag)) != 0 ? 1 :
                (offset & (ulong)(header.ClusterBytes - 1)) != 0 ? 2 :
                offset != 0 && (long)offset > fileBytes - header.ClusterBytes ? 3 :
                0;
            if (broken != 0)
            {
                throw new StoreException(
                    StoreError.Corrupt,
                    $"'{file.Path}', offset {header.L1OffsetBytes + (long)i * sizeof(ulong)}, qcow2 L1 entry {i}, predicate " +
                    $"{broken}: 0x{entries[i]:X16} names no L2 table in the file; try 'qemu-img check -r all' or another copy of " +
                    "the image");
            }

            entries[i] = offset;
        }

        return entries;
    }

    private static void Require(FileOutcome outcome, LinuxFile file, string structure)
    {
        if (outcome == FileOutcome.EndOfFile)
        {
            throw new StoreException(
                StoreError.Corrupt,
                $"'{file.Path}' became shorter while its {structure} was read: nothing may write to a base image");
        }
        if (outcome != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot read the {structure} of '{file.Path}': {file.LastError}");
    }

    private bool TryReadRun(Qcow2Run run, long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome)
    {
        outcome = BlockOutcome.Success;
        switch (run.State)
        {
            case Qcow2State.Zero:
                destination.Clear();
                return true;
            case Qcow2State.Unallocated:
                return TryReadBacking(offsetBytes, destination, mayWait, out outcome);
            case Qcow2State.Data:
                var inFile = Math.Clamp(fileBytes - run.HostOffset, 0, run.LengthBytes);
                destination.Slice(inFile).Clear();
                return ImageFile.TryRead(file, run.HostOffset, destination.Slice(0, inFile), mayWait, out outcome);
            case Qcow2State.Compressed:
                var inCluster = (int)(offsetBytes & (header.ClusterBytes - 1));
                if (clusters.TryCopy((ulong)run.HostOffset, inCluster, destination))
                    return true;
                if (!mayWait)
                    return false;
                outcome = clusters.Read((ulong)run.HostOffset, inCluster, destination);
                return true;
            default:
                outcome = BlockOutcome.Unreadable;
                return true;
        }
    }

    /// <summary>What the backing file has, and zeros beyond its end.</summary>
    private bool TryReadBacking(long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome)
    {
        outcome = BlockOutcome.Success;
        var inBacking = backing is null ? 0 : Math.Clamp(backing.SizeBytes - offsetBytes, 0, destination.Length);
        destination.Slice(inBacking).Clear();
        return inBacking == 0 || backing!.TryRead(offsetBytes, destination.Slice(0, inBacking), mayWait, out outcome);
    }

    /// <summary>
    /// The longest run of one state from an offset on, at most <paramref name="lengthBytes"/>, across clusters where they follow each
    /// other in the file too. False, with a Damaged run, where a table is not in memory and the caller does not wait.
    /// </summary>
    private bool TryFindRun(long offsetBytes, long lengthBytes, bool mayWait, out Qcow2Run run)
    {
        if (!TryDecode(offsetBytes, mayWait, out run))
            return false;
        var length = run.LengthBytes;
        while (length < lengthBytes && run.State is Qcow2State.Unallocated or Qcow2State.Zero or Qcow2State.Data)
        {
            if (offsetBytes + length >= SizeBytes || !TryDecode(offsetBytes + length, mayWait, out var next) || next.State != run.State ||
                (run.State == Qcow2State.Data && next.HostOffset != run.HostOffset + length))
            {
                break;
            }

            length += next.LengthBytes;
        }

        run = run with { LengthBytes = Math.Min(length, lengthBytes) };
        return true;
    }

    /// <summary>
    /// What the byte at an offset is, and how far that reaches inside its cluster or, where there is no L2 table, inside that.
    /// </summary>
    private bool TryDecode(long offsetBytes, bool mayWait, out Qcow2Run run)
    {
        var cluster = offsetBytes >> header.ClusterBits;
        var tableIndex = cluster >> header.L2EntriesBits;
        var table = l1[tableIndex];
        if (table == 0)
        {
            var tableEnd = (tableIndex + 1) << (header.L2EntriesBits + header.ClusterBits);
            run = new Qcow2Run(Qcow2State.Unallocated, 0, tableEnd - offsetBytes);
            return true;
        }

        Span<ulong> words = stackalloc ulong[2];
        words.Clear();
        words = words[..(header.HasExtendedL2 ? 2 : 1)];
        var inTable = (cluster & ((1L << header.L2EntriesBits) - 1)) << header.L2EntryBits;
        var slice = (cluster << header.L2EntryBits) / sliceBytes;
        var inSlice = (int)(inTable & (sliceBytes - 1));
        if (!tables.TryGet(slice, inSlice / sizeof(ulong), words))
        {
            run = new Qcow2Run(Qcow2State.Damaged, 0, header.ClusterBytes - (offsetBytes & (header.ClusterBytes - 1)));
            var loaded = LoadSlice(slice, (long)table + (inTable - inSlice), inSlice, words, mayWait);
            if (loaded != FileOutcome.Success)
                return mayWait;
        }

        run = mapping.Decode(words[0], words.Length == 2 ? words[1] : 0, (int)(offsetBytes & (header.ClusterBytes - 1)));
        return true;
    }

    [SkipLocalsInit]
    [MethodImpl(MethodImplOptions.NoInlining)]
    private FileOutcome LoadSlice(long slice, long hostOffset, int inSlice, Span<ulong> words, bool mayWait)
    {
        Span<ulong> buffer = stackalloc ulong[Qcow2TableCache.SliceBytesMax / sizeof(ulong)];
        var stored = MemoryMarshal.AsBytes(buffer)[..sliceBytes];
        var outcome = mayWait ? file.Read(stored, hostOffset) : file.ReadNow(stored, hostOffset);
        if (outcome != FileOutcome.Success)
            return outcome;
        tables.Add(slice, stored);
        for (var i = 0; i < words.Length; i++)
            words[i] = BinaryPrimitives.ReadUInt64BigEndian(stored[(inSlice + i * sizeof(ulong))..]);
        return FileOutcome.Success;
    }
}
