using CowScsi.Vdisk.Documents;
using Microsoft.AspNetCore.Builder;

namespace CowScsi.Vdisk.Control;

/// <summary>Disks that the kernel has.</summary>
internal sealed partial class ControlRoutes
{
    private void MapAttachmentsTo(WebApplication application)
    {
        const string attachment = ControlProtocol.DisksPath + "/{disk}/attachment";
        application.MapPost(attachment, Guarded(async (http, cancellation) =>
        {
            var request = await ReadAsync(http, DocumentContext.Default.AttachRequest, cancellation);
            using var passphrase = ReadPassphrase(http);
            var attached = await session.AttachAsync(Name(http, "disk"), request, passphrase, cancellation);
            await AnswerAsync(http, new AttachmentAnswer(attached), DocumentContext.Default.AttachmentAnswer);
        }));
        application.MapDelete(attachment, Guarded(async (http, cancellation) =>
        {
            var disk = Name(http, "disk");
            await session.DetachAsync(disk, Query(http, "force") == "1", cancellation);
            await AnswerAsync(http, new DetachedAnswer(disk), DocumentContext.Default.DetachedAnswer);
        }));
    }
}
