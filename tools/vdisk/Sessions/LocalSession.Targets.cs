using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Targets of a store that this process has open.</summary>
internal sealed partial class LocalSession
{
    public ValueTask<TargetsDocument> GetTargetsAsync(CancellationToken cancellation) => new(served.DescribeTargets());

    public async ValueTask<TargetsDocument> ChangeTargetsAsync(TargetChange change, CancellationToken cancellation)
    {
        var disk = (change as MapDisk)?.Disk ?? (change as UnmapDisk)?.Disk;
        if (disk is not null)
            _ = Named(disk, store.GetDisk);
        await served.ChangeTargetsAsync(change, cancellation);
        return served.DescribeTargets();
    }

    public ValueTask<IReadOnlyList<SessionDocument>> ListSessionsAsync(CancellationToken cancellation) => new(served.DescribeSessions());
}
