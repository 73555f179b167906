using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Sockets for virtual machines, of the server that this process is.</summary>
internal sealed partial class LocalSession
{
    public ValueTask<IReadOnlyList<VhostSocketDocument>> ListVhostAsync(CancellationToken cancellation) => new(served.DescribeVhost());

    public ValueTask<VhostSocketDocument> AddVhostAsync(VhostSocketRequest request, CancellationToken cancellation) =>
        served.AddVhostAsync(new VhostRequest(request.Socket, request.Disk, request.Target, request.Client), cancellation);

    public ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation) => served.RemoveVhostAsync(socket, force, cancellation);
}
