using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Disks of a store that this process has open, as the kernel has them.</summary>
internal sealed partial class LocalSession
{
    /// <summary>What the process serves to the kernel; null in one that does not stay.</summary>
    public KernelAttachments? Attachments { get; init; }

    public async ValueTask<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation)
    {
        _ = Named(disk, store.GetDisk);
        return await Staying.AttachAsync(disk, request, passphrase, cancellation);
    }

    public async ValueTask DetachAsync(string disk, bool force, CancellationToken cancellation) => await Staying.DetachAsync(disk, force, cancellation);

    private KernelAttachments Staying =>
        Attachments ?? throw new CommandException(ExitCode.NotFound, "no process serves disks of this store to the kernel; vdisk doctor shows what is left there");
}
