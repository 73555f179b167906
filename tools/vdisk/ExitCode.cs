using CowScsi.Engine;

namespace CowScsi.Vdisk;

/// <summary>
/// What the process answers to its caller. Scripts depend on these numbers: none is ever given another meaning. `vdisk check` has its own,
/// those of `qemu-img check`: <see cref="CheckExitCode"/>.
/// </summary>
internal enum ExitCode
{
    Done = 0,
    Failed = 1,
    Usage = 2,
    NotFound = 10,
    InUse = 11,
    Key = 12,
    HasDependents = 13,
    Interrupted = 130,
}

/// <summary>What `vdisk check` answers, as `qemu-img check` does.</summary>
internal enum CheckExitCode
{
    Clean = 0,

    /// <summary>It could not run, for whatever reason: a wrong command line and a store in use included.</summary>
    CouldNotRun = 1,

    Corrupt = 2,

    LeaksOnly = 3,
}

/// <summary>The exit codes as they are explained to people, and where they come from.</summary>
internal static class ExitCodes
{
    /// <summary>Each code with its meaning, in the order in which `vdisk --help` lists them.</summary>
    public static readonly IReadOnlyList<(ExitCode Code, string Meaning)> Meanings =
    [
        (ExitCode.Done, "done"),
        (ExitCode.Failed, "failed"),
        (ExitCode.Usage, "the command line, a name or a size is not acceptable"),
        (ExitCode.NotFound, "no such store, disk, snapshot, target or file"),
        (ExitCode.InUse, "the store, the disk or the portal is in use"),
        (ExitCode.Key, "a passphrase is missing or opens no key slot; a secret is missing or too short"),
        (ExitCode.HasDependents, "clones depend on it"),
        (ExitCode.Interrupted, "interrupted"),
    ];

    /// <summary>Those of `vdisk check`.</summary>
    public static readonly IReadOnlyList<(CheckExitCode Code, string Meaning)> CheckMeanings =
    [
        (CheckExitCode.Clean, "nothing was found, or all was mended"),
        (CheckExitCode.CouldNotRun, "the check could not run"),
        (CheckExitCode.Corrupt, "something is damaged"),
        (CheckExitCode.LeaksOnly, "space is wasted, no data is at risk"),
    ];

    public static ExitCode From(StoreError error) => error switch
    {
        StoreError.NotFound => ExitCode.NotFound,
        StoreError.InUse => ExitCode.InUse,
        StoreError.Key => ExitCode.Key,
        StoreError.HasDependents => ExitCode.HasDependents,
        StoreError.Invalid => ExitCode.Usage,
        _ => ExitCode.Failed,
    };
}
