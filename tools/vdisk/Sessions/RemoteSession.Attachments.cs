using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Disks of a store that a server has open, as the kernel has them.</summary>
internal sealed partial class RemoteSession
{
    public async ValueTask<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation) =>
        (await AskAsync(
            HttpMethod.Post, DiskPath(disk) + "/attachment", Document(request, DocumentContext.Default.AttachRequest), passphrase,
            DocumentContext.Default.AttachmentAnswer, cancellation)).Attachment;

    public async ValueTask DetachAsync(string disk, bool force, CancellationToken cancellation) =>
        await AskAsync(
            HttpMethod.Delete, DiskPath(disk) + "/attachment" + (force ? "?force=1" : ""), null, null, DocumentContext.Default.DetachedAnswer, cancellation);
}
