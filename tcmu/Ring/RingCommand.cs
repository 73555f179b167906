using System.Numerics;
using CowScsi.Layers;

namespace CowScsi.Tcmu.Ring;

/// <summary>Why a command that the ring holds is not carried out. Its entry is sound, so it can be answered.</summary>
internal enum RingRefusal : byte
{
    None = 0,

    /// <summary>Data both ways: no command here has that.</summary>
    Bidirectional = 1,

    /// <summary>Protection information: this device has none (iov_dif_cnt).</summary>
    ProtectionData = 2,

    /// <summary>The CDB lies outside the region.</summary>
    CdbOutsideRegion = 3,

    /// <summary>The CDB is longer than any command of the device.</summary>
    CdbTooLong = 4,

    /// <summary>More vectors than the entry has room for, or than are taken.</summary>
    TooManyVectors = 5,

    /// <summary>A vector reaches outside the data area.</summary>
    VectorOutsideDataArea = 6,
}

/// <summary>
/// A command as it was found in the ring: reused. Everything is copied out of the entry once and then checked, but for the data itself,
/// which stays where it is.
/// </summary>
internal sealed class RingCommand
{
    /// <summary>Pieces of data that are taken: 64 MiB in single pages, twice what the loopback fabric sends in one command.</summary>
    public const int VectorsMax = 16384;

    public const int CdbBytesMax = 32;

    private const int VectorsAtFirst = 64;

    private readonly byte[] cdb = new byte[CdbBytesMax];

    public ushort Id { get; set; }

    /// <summary>Number of the entry that brought the command, counted from the opening of the ring.</summary>
    public ulong EntryNumber { get; set; }

    public RingRefusal Refusal { get; set; }

    public int CdbLength { get; set; }

    public ReadOnlySpan<byte> Cdb => cdb.AsSpan(0, CdbLength);

    public Span<byte> CdbRoom => cdb;

    /// <summary>The data, in the region's own memory. What goes to the device and what comes from it use the same room.</summary>
    public IoBuffer Data => new(Slices, 0, SliceCount);

    public IoSlice[] Slices { get; private set; } = new IoSlice[VectorsAtFirst];

    public int SliceCount { get; set; }

    public void ReserveSlices(int count)
    {
        if (Slices.Length < count)
            Slices = new IoSlice[BitOperations.RoundUpToPowerOf2((uint)count)];
    }
}

/// <summary>Task management that the kernel carried out: reused.</summary>
internal sealed class RingTaskManagement
{
    private ushort[] ids = new ushort[16];

    public RingFunction Function { get; set; }

    /// <summary>Commands that it affects and that have not been answered, as far as the kernel knew.</summary>
    public ReadOnlySpan<ushort> Affected => ids.AsSpan(0, Count);

    public int Count { get; private set; }

    public Span<ushort> Reserve(int count)
    {
        if (ids.Length < count)
            ids = new ushort[BitOperations.RoundUpToPowerOf2((uint)count)];
        Count = count;
        return ids.AsSpan(0, count);
    }
}
