using CowScsi.Scsi;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Disks of a store that this process has open, as the kernel has them.</summary>
internal sealed partial class LocalSession
{
    /// <summary>What the process serves to the kernel; null in one that does not stay.</summary>
    public KernelAttachments? Attachments { get; init; }

    /// <summary>Takes lines for the operator.</summary>
    public Action<string> Notice { get; init; } = static _ => { };

    public async ValueTask<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation)
    {
        _ = Named(disk, store.GetDisk);
        var staying = Attachments ?? throw new InvalidOperationException("a process that does not stay attaches nothing");
        return await staying.AttachAsync(disk, request, passphrase, cancellation);
    }

    /// <summary>A process that does not stay serves what is left in the kernel for as long as it takes to remove it.</summary>
    public async ValueTask DetachAsync(string disk, bool force, CancellationToken cancellation)
    {
        _ = Named(disk, store.GetDisk);
        if (Attachments is { } staying)
        {
            await staying.DetachAsync(disk, force, cancellation);
            return;
        }

        await using var passing = new KernelAttachments(store, new UnitMap(store, new LogicalUnitOptions()), Notice);
        await passing.AdoptAsync(disk, cancellation);
        await passing.DetachAsync(disk, force, cancellation);
    }
}
