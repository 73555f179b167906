using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Sockets for virtual machines, of the server that has the store open.</summary>
internal sealed partial class RemoteSession
{
    public async ValueTask<IReadOnlyList<VhostSocketDocument>> ListVhostAsync(CancellationToken cancellation) =>
        (await AskAsync(HttpMethod.Get, ControlProtocol.VhostPath, null, null, DocumentContext.Default.VhostSocketsAnswer, cancellation)).VhostSockets;

    public async ValueTask<VhostSocketDocument> AddVhostAsync(VhostSocketRequest request, CancellationToken cancellation) =>
        (await AskAsync(
            HttpMethod.Post, ControlProtocol.VhostPath, Document(request, DocumentContext.Default.VhostSocketRequest), null,
            DocumentContext.Default.VhostSocketAnswer, cancellation)).VhostSocket;

    public async ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation) =>
        await AskAsync(
            HttpMethod.Delete, $"{ControlProtocol.VhostPath}?socket={Uri.EscapeDataString(socket)}" + (force ? "&force=1" : ""), null, null,
            DocumentContext.Default.VhostRemovedAnswer, cancellation);
}
