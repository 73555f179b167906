using CowScsi.Layers;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Serving;

/// <summary>What of a store initiators can reach at this moment: a server's LUN map, or nothing in a process that is no server.</summary>
internal interface IServedDisks
{
    bool IsServer { get; }

    /// <summary>Where initiators find a disk; null where it is not served.</summary>
    string? UrlOf(string disk);

    /// <summary>Serves a disk that was just made, if everything is to be served; else (or where it cannot be) says why not.</summary>
    string? Announce(DiskInfo disk, Passphrase? passphrase);

    /// <summary>Runs an action on a disk that nobody may be using: takes it off the LUN map first, and puts it back if the action fails.</summary>
    ValueTask WithdrawAsync(string disk, Action action);
}

/// <summary>The answer of a process that serves nothing.</summary>
internal sealed class NothingServed : IServedDisks
{
    public static readonly NothingServed Instance = new();

    public bool IsServer => false;

    public string? UrlOf(string disk) => null;

    public string? Announce(DiskInfo disk, Passphrase? passphrase) => null;

    public ValueTask WithdrawAsync(string disk, Action action)
    {
        action();
        return ValueTask.CompletedTask;
    }
}
