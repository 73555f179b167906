using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Targets of a store that a server has open.</summary>
internal sealed partial class RemoteSession
{
    public async ValueTask<TargetsDocument> GetTargetsAsync(CancellationToken cancellation) =>
        (await AskAsync(HttpMethod.Get, ControlProtocol.TargetsPath, null, null, DocumentContext.Default.TargetsAnswer, cancellation)).Targets;

    public async ValueTask<TargetsDocument> ChangeTargetsAsync(TargetChange change, CancellationToken cancellation) =>
        (await AskAsync(
            HttpMethod.Post, ControlProtocol.TargetsPath, Document(change, DocumentContext.Default.TargetChange), null,
            DocumentContext.Default.TargetsAnswer, cancellation)).Targets;

    public async ValueTask<IReadOnlyList<SessionDocument>> ListSessionsAsync(CancellationToken cancellation) =>
        (await AskAsync(HttpMethod.Get, ControlProtocol.SessionsPath, null, null, DocumentContext.Default.SessionsAnswer, cancellation)).Sessions;
}
