using CowScsi.Vdisk.Documents;
using Microsoft.AspNetCore.Builder;

namespace CowScsi.Vdisk.Control;

/// <summary>Targets, portals and rules. What a change asks for is checked where it is applied.</summary>
internal sealed partial class ControlRoutes
{
    private void MapTargetsTo(WebApplication application)
    {
        application.MapGet(ControlProtocol.TargetsPath, Guarded(async (http, cancellation) =>
            await AnswerAsync(http, new TargetsAnswer(await session.GetTargetsAsync(cancellation)), DocumentContext.Default.TargetsAnswer)));
        application.MapPost(ControlProtocol.TargetsPath, Guarded(async (http, cancellation) =>
        {
            var change = await ReadAsync(http, DocumentContext.Default.TargetChange, cancellation);
            await AnswerAsync(http, new TargetsAnswer(await session.ChangeTargetsAsync(change, cancellation)), DocumentContext.Default.TargetsAnswer);
        }));
        application.MapGet(ControlProtocol.SessionsPath, Guarded(async (http, cancellation) =>
            await AnswerAsync(http, new SessionsAnswer(await session.ListSessionsAsync(cancellation)), DocumentContext.Default.SessionsAnswer)));
    }
}
