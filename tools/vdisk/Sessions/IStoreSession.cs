using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Sessions;

/// <summary>
/// A store that commands work on: opened by this process, or reached through the control socket of the server that has it open. The verbs
/// know no other. Methods throw <see cref="CommandException"/> (or StoreException) with the line that the user reads.
/// </summary>
internal interface IStoreSession : IAsyncDisposable
{
    ValueTask<StoreDocument> GetStoreAsync(CancellationToken cancellation);

    /// <summary>All disks, oldest first.</summary>
    ValueTask<IReadOnlyList<DiskDocument>> ListDisksAsync(CancellationToken cancellation);

    ValueTask<DiskDocument> GetDiskAsync(string disk, CancellationToken cancellation);

    /// <summary>Creates a disk. <paramref name="passphrase"/> is null unless the disk is to be encrypted.</summary>
    ValueTask<DiskDocument> CreateDiskAsync(DiskRequest request, Passphrase? passphrase, CancellationToken cancellation);

    ValueTask DeleteDiskAsync(string disk, CancellationToken cancellation);

    ValueTask<DiskDocument> ResizeDiskAsync(string disk, long sizeBytes, bool allowShrink, CancellationToken cancellation);

    ValueTask<SnapshotDocument> CreateSnapshotAsync(string disk, string snapshot, CancellationToken cancellation);

    ValueTask DeleteSnapshotAsync(string disk, string snapshot, CancellationToken cancellation);

    /// <summary>Clones a snapshot. The passphrase lets a running server serve an encrypted clone whose key it has not loaded.</summary>
    ValueTask<DiskDocument> CloneAsync(string disk, string snapshot, string name, Passphrase? passphrase, CancellationToken cancellation);

    /// <summary>The runs that differ between a snapshot and a newer one (null: the disk as it is now), in ascending order.</summary>
    IAsyncEnumerable<DiffRunDocument> DiffAsync(string disk, string older, string? newer, CancellationToken cancellation);

    /// <summary>True where a scrub goes on after the session: in a server. Otherwise it ends with the process.</summary>
    bool ScrubsInBackground { get; }

    /// <summary>Begins a scrub, or goes on with one that was stopped; one that is under way goes on with the new rate.</summary>
    ValueTask<ScrubDocument> StartScrubAsync(long rateBytes, bool anew, CancellationToken cancellation);

    ValueTask<ScrubDocument> StopScrubAsync(CancellationToken cancellation);

    /// <summary>The last scrub, or the one that is under way.</summary>
    ValueTask<ScrubDocument> GetScrubAsync(CancellationToken cancellation);

    ValueTask<CheckDocument> CheckAsync(IProgress<double>? progress, CancellationToken cancellation);

    /// <summary>
    /// Creates a disk and fills it; where that fails or is cancelled, the disk is gone again. The disk is as large as the source, or as
    /// the request says where that is more.
    /// </summary>
    ValueTask<DiskDocument> ImportAsync(DiskRequest request, Passphrase? passphrase, IImportSource source, CancellationToken cancellation);

    /// <summary>Hands the contents of a disk or snapshot to a sink in ascending order, without what is not stored.</summary>
    ValueTask ExportAsync(DiskAddress from, Passphrase? passphrase, IExportSink sink, CancellationToken cancellation);

    /// <summary>What is offered to initiators, without secrets.</summary>
    ValueTask<TargetsDocument> GetTargetsAsync(CancellationToken cancellation);

    /// <summary>
    /// Changes what is offered to initiators: of a running server at once, and for those that start later. Gives what is offered then. A
    /// change that cannot take effect changes nothing.
    /// </summary>
    ValueTask<TargetsDocument> ChangeTargetsAsync(TargetChange change, CancellationToken cancellation);

    /// <summary>Initiators that are logged in to the running server; none where none runs.</summary>
    ValueTask<IReadOnlyList<SessionDocument>> ListSessionsAsync(CancellationToken cancellation);

    /// <summary>Makes a disk one of the kernel's, served by the process that has the store open: one that stays.</summary>
    ValueTask<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation);

    ValueTask DetachAsync(string disk, bool force, CancellationToken cancellation);

    /// <summary>Sockets of the running server for virtual machines; none where none runs.</summary>
    ValueTask<IReadOnlyList<VhostSocketDocument>> ListVhostAsync(CancellationToken cancellation);

    /// <summary>Makes a socket for virtual machines, that is there as long as the running server.</summary>
    ValueTask<VhostSocketDocument> AddVhostAsync(VhostSocketRequest request, CancellationToken cancellation);

    ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation);
}
