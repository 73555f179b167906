using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// What of a store initiators can reach: a server's targets, or, in a process that is no server, what the next server will offer.
/// </summary>
internal interface IServedDisks
{
    bool IsServer { get; }

    /// <summary>Where initiators find a disk; null where it is not served.</summary>
    string? UrlOf(string disk);

    /// <summary>Serves a disk that was just made, if everything is to be served; else (or where it cannot be) says why not.</summary>
    string? Announce(DiskInfo disk, Passphrase? passphrase);

    /// <summary>Runs an action on a disk that nobody may be using: takes it off the LUN maps first, and puts it back if the action fails.</summary>
    ValueTask WithdrawAsync(string disk, Action action);

    /// <summary>Targets, portals and rules, without secrets.</summary>
    TargetsDocument DescribeTargets();

    /// <summary>Takes a change into use and keeps it; one that cannot take effect changes nothing.</summary>
    ValueTask ChangeTargetsAsync(TargetChange change, CancellationToken cancellation);

    /// <summary>Initiators that are logged in; none where nothing is served.</summary>
    IReadOnlyList<SessionDocument> DescribeSessions();

    /// <summary>Sockets for virtual machines, oldest first; none where nothing is served.</summary>
    IReadOnlyList<VhostSocketDocument> DescribeVhost();

    /// <summary>Makes a socket for virtual machines, that is there as long as the server.</summary>
    ValueTask<VhostSocketDocument> AddVhostAsync(VhostRequest request, CancellationToken cancellation);

    ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation);
}

/// <summary>The answer of a process that serves nothing: changes are kept for the next server.</summary>
internal sealed class StoredTargets(DiskStore store) : IServedDisks
{
    public bool IsServer => false;

    public string? UrlOf(string disk) => null;

    public string? Announce(DiskInfo disk, Passphrase? passphrase) => null;

    public ValueTask WithdrawAsync(string disk, Action action)
    {
        action();
        return ValueTask.CompletedTask;
    }

    public TargetsDocument DescribeTargets() => TargetDocumentsOf.Store(Load(), store.ListDisks(), isServer: false, static (_, _) => null, static _ => 0, []);

    public ValueTask ChangeTargetsAsync(TargetChange change, CancellationToken cancellation)
    {
        var changes = new TargetChanges(store.Id, store.GetDisk, store.ListDisks);
        // What cannot be read can still be forgotten.
        var from = change is ResetTargets ? TargetConfiguration.Default(store.Id) : Load();
        TargetSettings.Save(store, changes.Apply(from, change));
        return ValueTask.CompletedTask;
    }

    public IReadOnlyList<SessionDocument> DescribeSessions() => [];

    public IReadOnlyList<VhostSocketDocument> DescribeVhost() => [];

    public ValueTask<VhostSocketDocument> AddVhostAsync(VhostRequest request, CancellationToken cancellation) => throw NoServer();

    public ValueTask RemoveVhostAsync(string socket, bool force, CancellationToken cancellation) => throw NoServer();

    private static CommandException NoServer() => new(ExitCode.NotFound, "no server serves this store; 'vdisk serve' starts one");

    private TargetConfiguration Load() => TargetSettings.Load(store).WithDisks(store.ListDisks());
}
