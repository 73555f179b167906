using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Text;
using Microsoft.AspNetCore.Builder;

namespace CowScsi.Vdisk.Control;

/// <summary>Sockets for virtual machines.</summary>
internal sealed partial class ControlRoutes
{
    private void MapVhostTo(WebApplication application)
    {
        application.MapGet(ControlProtocol.VhostPath, Guarded(async (http, cancellation) =>
            await AnswerAsync(http, new VhostSocketsAnswer(await session.ListVhostAsync(cancellation)), DocumentContext.Default.VhostSocketsAnswer)));
        application.MapPost(ControlProtocol.VhostPath, Guarded(async (http, cancellation) =>
        {
            var request = await ReadAsync(http, DocumentContext.Default.VhostSocketRequest, cancellation);
            CheckSocket(request.Socket);
            if (request.Disk is { } disk)
                Check("disk", disk);
            if (request is { Disk: not null, Target: not null })
                throw CommandException.Usage("a socket has one disk or a target's, not both");
            await AnswerAsync(http, new VhostSocketAnswer(await session.AddVhostAsync(request, cancellation)), DocumentContext.Default.VhostSocketAnswer);
        }));
        application.MapDelete(ControlProtocol.VhostPath, Guarded(async (http, cancellation) =>
        {
            var socket = Query(http, "socket") ?? throw CommandException.Usage("which socket?");
            CheckSocket(socket);
            await session.RemoveVhostAsync(socket, Query(http, "force") == "1", cancellation);
            await AnswerAsync(http, new VhostRemovedAnswer(socket), DocumentContext.Default.VhostRemovedAnswer);
        }));
    }

    /// <summary>The server's own folder is nobody's to guess.</summary>
    private static void CheckSocket(string socket)
    {
        if (!Path.IsPathFullyQualified(socket) || socket.Contains('\0', StringComparison.Ordinal))
            throw CommandException.Usage($"'{DiskAddress.Printable(socket)}' is not the full path of a socket");
    }
}
