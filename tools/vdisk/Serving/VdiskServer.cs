using System.Net;
using System.Net.Sockets;
using CowScsi.Engine;
using CowScsi.Iscsi;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Serving;

/// <summary>What a server is to do.</summary>
/// <param name="StoreDirectory">The store, which the server holds while it runs.</param>
/// <param name="Names">Disks to serve; none for all of them, and for those that are made meanwhile.</param>
/// <param name="Portals">Where to listen.</param>
/// <param name="MapMemoryBytes">Memory for the block map.</param>
/// <param name="Units">How all disks are presented.</param>
internal sealed record ServeRequest(
    string StoreDirectory, IReadOnlyList<string> Names, IReadOnlyList<Portal> Portals, long MapMemoryBytes, LogicalUnitOptions Units);

/// <summary>
/// A running server: the store, its disks as logical units, the iSCSI portals, and the control socket. Parts start from the ground up
/// and stop from the roof down, so that nothing ever calls what is gone: initiators first, then commands, disks, the store.
/// </summary>
internal sealed class VdiskServer : IAsyncDisposable
{
    /// <summary>Undone in reverse, each exactly once.</summary>
    private readonly Stack<IAsyncDisposable> parts = new();
    private readonly DiskServer disks;
    private Func<int, string>? urlOfLun;

    private VdiskServer(DiskServer disks) => this.disks = disks;

    /// <summary>What initiators can reach now.</summary>
    public IReadOnlyList<(string Name, long SizeBytes, string Url)> Served =>
        [.. disks.Served.Select(disk => (disk.Name, disk.SizeBytes, urlOfLun!(disk.Lun)))];

    /// <summary>Starts everything; where a part cannot start, those that did are stopped again.</summary>
    /// <param name="request">What to serve and where.</param>
    /// <param name="askPassphrase">Called at most once, with the first encrypted disk.</param>
    /// <param name="notice">Takes lines for the operator.</param>
    /// <param name="cancellation">Ends the start.</param>
    public static async Task<VdiskServer> StartAsync(
        ServeRequest request, Func<string, ValueTask<Passphrase>> askPassphrase, Action<string> notice, CancellationToken cancellation)
    {
        var endpoints = new List<IPEndPoint>();
        foreach (var portal in request.Portals)
            endpoints.Add(await portal.ResolveAsync(cancellation));
        var options = StoreOptions.Default with { MapMemoryBytes = request.MapMemoryBytes, Notice = notice };
        var store = DiskStore.Open(request.StoreDirectory, options);
        var disks = new DiskServer(store, servesEverything: request.Names.Count == 0, request.Units);
        var session = new LocalSession(store, disks);
        var server = new VdiskServer(disks);
        server.parts.Push(session);
        server.parts.Push(disks);
        try
        {
            await server.StartAsync(request, endpoints, session, askPassphrase, notice, cancellation);
            return server;
        }
        catch
        {
            await server.DisposeAsync();
            throw;
        }
    }

    public async ValueTask DisposeAsync()
    {
        while (parts.TryPop(out var part))
            await part.DisposeAsync();
    }

    private async Task StartAsync(
        ServeRequest request,
        List<IPEndPoint> endpoints,
        LocalSession session,
        Func<string, ValueTask<Passphrase>> askPassphrase,
        Action<string> notice,
        CancellationToken cancellation)
    {
        foreach (var name in request.Names)
            await session.GetDiskAsync(name, cancellation);
        Passphrase? passphrase = null;
        try
        {
            await disks.OpenAsync(request.Names, async disk => passphrase ??= await askPassphrase(disk));
        }
        finally
        {
            passphrase?.Dispose();
        }

        var iscsi = new IscsiTargetServer(new IscsiPortalOptions { Portals = endpoints, Log = notice });
        iscsi.AddTarget(disks.TargetName, disks.Target);
        Listen(iscsi, request.Portals);
        parts.Push(iscsi);
        var address = AddressOf(request.Portals[0], iscsi.Portals[0]);
        urlOfLun = lun => $"iscsi://{address}/{disks.TargetName}/{lun}";
        disks.Publish(urlOfLun, () => iscsi.SessionCount);

        var socket = ControlSocket.Listen(request.StoreDirectory);
        ControlServer control;
        try
        {
            control = await ControlServer.StartAsync(socket, session, notice);
        }
        catch
        {
            socket.Dispose();
            throw;
        }

        // Commands end before initiators are cut off: the control socket is the first to go.
        parts.Push(control);
        session.ResumeScrub();
    }

    private static void Listen(IscsiTargetServer iscsi, IReadOnlyList<Portal> portals)
    {
        try
        {
            iscsi.Start();
        }
        catch (SocketException error)
        {
            var where = string.Join(", ", portals);
            throw error.SocketErrorCode == SocketError.AddressAlreadyInUse
                ? new CommandException(ExitCode.InUse, $"cannot listen on {where}: the address is in use; give another --portal", error)
                : CommandException.Failed($"cannot listen on {where}: {error.Message}", error);
        }
    }

    /// <summary>The address to print: as it was given, with the real port; "any address" is reached at least through this machine.</summary>
    private static string AddressOf(Portal given, IPEndPoint bound)
    {
        if (bound.Address.Equals(IPAddress.Any))
            return $"127.0.0.1:{bound.Port}";
        if (bound.Address.Equals(IPAddress.IPv6Any))
            return $"[::1]:{bound.Port}";
        return (given with { Port = bound.Port }).ToString();
    }
}
