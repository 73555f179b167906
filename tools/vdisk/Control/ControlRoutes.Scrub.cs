using CowScsi.Vdisk.Documents;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;

namespace CowScsi.Vdisk.Control;

/// <summary>Scrubs: started and stopped here, run by the store.</summary>
internal sealed partial class ControlRoutes
{
    private void MapScrubTo(WebApplication application)
    {
        application.MapGet(ControlProtocol.ScrubPath, Guarded(async (http, cancellation) =>
            await AnswerScrubAsync(http, await session.GetScrubAsync(cancellation))));
        application.MapPost(ControlProtocol.ScrubPath, Guarded(async (http, cancellation) =>
        {
            var request = await ReadAsync(http, DocumentContext.Default.ScrubRequest, cancellation);
            await AnswerScrubAsync(http, await session.StartScrubAsync(request.RateBytes, request.Anew, cancellation));
        }));
        application.MapDelete(ControlProtocol.ScrubPath, Guarded(async (http, cancellation) =>
            await AnswerScrubAsync(http, await session.StopScrubAsync(cancellation))));
    }

    private static Task AnswerScrubAsync(HttpContext http, ScrubDocument scrub) =>
        AnswerAsync(http, new ScrubAnswer(scrub), DocumentContext.Default.ScrubAnswer);
}
