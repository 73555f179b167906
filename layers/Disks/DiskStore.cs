using CowScsi.Engine;

namespace CowScsi.Layers;

#pragma warning disable IDE0060, CA2012
/// <summary>
/// A store as its users see it: disks, snapshots and clones by name. Every change is durable when the method returns. Methods may be
/// called from any thread; they throw <see cref="StoreException"/> with a one-line message, and <see cref="ArgumentException"/> never for
/// user input.
/// </summary>
public sealed class DiskStore : IAsyncDisposable
{
    /// <summary>Makes a new, empty store in a directory that is missing or empty.</summary>
    public static DiskStore Create(string directory, StoreOptions options) => throw new NotSupportedException();

    /// <summary>Opens a store for this process alone; recovers it where it was not closed cleanly.</summary>
    public static DiskStore Open(string directory, StoreOptions options) => throw new NotSupportedException();

    public string Directory => throw new NotSupportedException();

    public StoreInfo GetInfo() => throw new NotSupportedException();

    public IReadOnlyList<DiskInfo> ListDisks() => throw new NotSupportedException();

    public DiskInfo GetDisk(string name) => throw new NotSupportedException();

    /// <summary>Creates a disk. <paramref name="passphrase"/> fills the first key slot where the disk is encrypted, else it is empty.</summary>
    public DiskInfo CreateDisk(DiskSpec spec, ReadOnlySpan<byte> passphrase) => throw new NotSupportedException();

    /// <summary>Deletes a disk with all its snapshots; refuses while it is open or clones of its snapshots exist, and names them.</summary>
    public void DeleteDisk(string name) => throw new NotSupportedException();

    /// <summary>Changes the size; smaller only with <paramref name="allowShrink"/>. An open disk changes at once.</summary>
    public DiskInfo ResizeDisk(string name, long sizeBytes, bool allowShrink) => throw new NotSupportedException();

    /// <summary>Seals the disk's head under a name, in constant time, ordered exactly with the writes around it.</summary>
    public SnapshotInfo CreateSnapshot(string disk, string snapshot) => throw new NotSupportedException();

    public void DeleteSnapshot(string disk, string snapshot) => throw new NotSupportedException();

    /// <summary>Creates a disk whose origin is a snapshot, in constant time. It inherits the origin's key, codec and block size.</summary>
    public DiskInfo Clone(string disk, string snapshot, string newName) => throw new NotSupportedException();

    /// <summary>
    /// Opens a disk for reading and writing. Opening it again in this process gives a second handle on the same disk. Dispose to close.
    /// </summary>
    /// <param name="passphrase">Opens the data key of an encrypted disk; empty where none is needed or the key is loaded already.</param>
    public BlockDevice OpenDisk(string name, ReadOnlySpan<byte> passphrase) => throw new NotSupportedException();

    /// <summary>Opens a snapshot for reading. Dispose to close.</summary>
    public BlockDevice OpenSnapshot(string disk, string snapshot, ReadOnlySpan<byte> passphrase) => throw new NotSupportedException();

    /// <summary>
    /// The ranges of <paramref name="disk"/> that may read differently in <paramref name="newerSnapshot"/> (null: the head) than in
    /// <paramref name="olderSnapshot"/>, in ascending order, to 4 KiB; taken from the map, no data is read.
    /// </summary>
    public IEnumerable<DiffRun> Diff(string disk, string olderSnapshot, string? newerSnapshot) => throw new NotSupportedException();

    /// <summary>
    /// Verifies every record, every checksum and every map entry without changing anything; on a store in use it sees a consistent state.
    /// </summary>
    public CheckReport Check(IProgress<double>? progress, CancellationToken cancellation) => throw new NotSupportedException();

    /// <summary>Flushes, takes a checkpoint and closes. Open disks answer <see cref="BlockOutcome.Closed"/> afterwards.</summary>
    public ValueTask DisposeAsync() => throw new NotSupportedException();
}
