using System.Net;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Serving;

/// <summary>What a server is to do.</summary>
/// <param name="StoreDirectory">The store, which the server holds while it runs.</param>
/// <param name="Names">Disks to serve; none for all that targets have, and for those that are made meanwhile.</param>
/// <param name="Portals">Where to listen; none for the portals that the store has.</param>
/// <param name="MapMemoryBytes">Memory for the block map.</param>
/// <param name="Units">How all disks are presented.</param>
/// <param name="Vhost">Sockets for virtual machines; null for none.</param>
internal sealed record ServeRequest(
    string StoreDirectory,
    IReadOnlyList<string> Names,
    IReadOnlyList<Portal> Portals,
    long MapMemoryBytes,
    LogicalUnitOptions Units,
    IReadOnlyList<VhostRequest>? Vhost = null);

/// <summary>
/// A running server: the store, its disks as logical units, the iSCSI portals, and the control socket. Parts start from the ground up
/// and stop from the roof down, so that nothing ever calls what is gone: initiators first, then commands, disks, the store.
/// </summary>
internal sealed class VdiskServer : IAsyncDisposable
{
    /// <summary>Undone in reverse, each exactly once.</summary>
    private readonly Stack<IAsyncDisposable> parts = new();
    private readonly DiskStore store;
    private readonly TargetServer targets;
    private readonly KernelAttachments attachments;

    private VdiskServer(DiskStore store, TargetServer targets, KernelAttachments attachments)
    {
        this.store = store;
        this.targets = targets;
        this.attachments = attachments;
    }

    /// <summary>Disks that the kernel has.</summary>
    public int AttachedCount => attachments.Count;

    /// <summary>Returns where the store can still be asked: it takes the locks that every change of it takes.</summary>
    public void LookAlive() => _ = store.GetInfo();

    /// <summary>What initiators can reach now.</summary>
    public IReadOnlyList<(string Name, long SizeBytes, string Url)> Served => targets.Served;

    /// <summary>The sockets for virtual machines.</summary>
    public IReadOnlyList<VhostSocketDocument> Vhost => targets.DescribeVhost();

    /// <summary>Starts everything; where a part cannot start, those that did are stopped again.</summary>
    /// <param name="request">What to serve and where.</param>
    /// <param name="askPassphrase">Called at most once, with the first encrypted disk.</param>
    /// <param name="notice">Takes lines for the operator.</param>
    /// <param name="cancellation">Ends the start.</param>
    public static async Task<VdiskServer> StartAsync(
        ServeRequest request, Func<string, ValueTask<Passphrase>> askPassphrase, Action<string> notice, CancellationToken cancellation)
    {
        var options = StoreOptions.Default with { MapMemoryBytes = request.MapMemoryBytes, Notice = notice };
        var store = DiskStore.Open(request.StoreDirectory, options);
        TargetServer targets;
        try
        {
            targets = new TargetServer(store, request.Names, request.Units);
        }
        catch
        {
            await store.DisposeAsync();
            throw;
        }

        var attachments = new KernelAttachments(store, targets.Units, notice);
        var session = new LocalSession(store, targets) { Attachments = attachments };
        var server = new VdiskServer(store, targets, attachments);
        server.parts.Push(session);
        server.parts.Push(targets);
        server.parts.Push(attachments);
        try
        {
            await server.StartAsync(request, session, askPassphrase, notice, cancellation);
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
            await targets.OpenAsync(async disk => passphrase ??= await askPassphrase(disk));
            if (targets.FindUnserved() is { } unserved)
                throw new CommandException(ExitCode.NotFound, $"no target has disk '{unserved}'; 'vdisk target map' maps it on one");
        }
        finally
        {
            passphrase?.Dispose();
        }

        List<(Portal Given, IPEndPoint Address)> portals = [];
        foreach (var portal in request.Portals.Count > 0 ? request.Portals : targets.StoredPortals)
            portals.Add((portal, await portal.ResolveAsync(cancellation)));
        targets.Listen(portals, notice);
        foreach (var vhost in request.Vhost ?? [])
            await targets.AddVhostAsync(vhost, cancellation);

        await session.Attachments!.RestoreAsync(cancellation);
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
}
