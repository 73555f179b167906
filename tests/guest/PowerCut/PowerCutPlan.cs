namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>One recorded run and how it is taken apart.</summary>
/// <param name="FileSystem">Its name, which is its kernel module's too.</param>
/// <param name="Seed">Gives what is written and where the power goes.</param>
/// <param name="Legs">Starts of the server; the second, fourth ... end by SIGKILL, the others by SIGTERM.</param>
/// <param name="PointsOfEachKind">At most so many of each <see cref="CutKind"/>.</param>
internal sealed record PowerCutPlan(string FileSystem, uint Seed, int Legs, int WritesALeg, int FlushEvery, int PointsOfEachKind, TimeSpan Limit)
{
    /// <summary>The store is made while the log is written, not before.</summary>
    public bool IsMadeUnderTheLog { get; init; }

    /// <summary>Makes one in the file whose name follows. Nothing is left to be initialised later, which would be in the log.</summary>
    public string MakeFileSystem => FileSystem == "xfs" ? "mkfs.xfs -q -f" : "mke2fs -q -F -t ext4 -E lazy_itable_init=0,lazy_journal_init=0";

    /// <summary>XFS would refuse a second file system of the same identity; discards would tell the log nothing.</summary>
    public string MountOptions => FileSystem == "xfs" ? "-o nouuid" : "";
}
