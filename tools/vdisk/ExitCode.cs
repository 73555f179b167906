using CowScsi.Engine;

namespace CowScsi.Vdisk;

/// <summary>What the process answers to its caller. Scripts depend on these numbers: none is ever given another meaning.</summary>
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

/// <summary>The exit codes as they are explained to people, and where they come from.</summary>
internal static class ExitCodes
{
    /// <summary>Each code with its meaning, in the order in which `vdisk --help` lists them.</summary>
    public static readonly IReadOnlyList<(ExitCode Code, string Meaning)> Meanings =
    [
        (ExitCode.Done, "done"),
        (ExitCode.Failed, "failed"),
        (ExitCode.Usage, "the command line, a name or a size is not acceptable"),
        (ExitCode.NotFound, "no such store, disk, snapshot or file"),
        (ExitCode.InUse, "the store, the disk or the portal is in use"),
        (ExitCode.Key, "a passphrase is missing or opens no key slot"),
        (ExitCode.HasDependents, "clones depend on it"),
        (ExitCode.Interrupted, "interrupted"),
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
