namespace CowScsi.Engine;

/// <summary>How long the index may keep others waiting before it is taken to hang. Tests shorten them.</summary>
/// <param name="CutMilliseconds">
/// For the cut of a checkpoint. Every write waits meanwhile; it is a matter of memory operations, microseconds in practice.
/// </param>
/// <param name="StallMilliseconds">For a checkpoint's files, since the last transfer that ended: a slow disk ends some, a dead one none.</param>
/// <param name="ReadMilliseconds">For one page from disk. Initiators give a command 30 to 60 s; they hear of it before they give up.</param>
/// <param name="CloseMilliseconds">For transfers that are under way when the store is closed.</param>
internal sealed record MapLimits(int CutMilliseconds, int StallMilliseconds, int ReadMilliseconds, int CloseMilliseconds)
{
    public static readonly MapLimits Default = new(5_000, 60_000, 25_000, 10_000);

    /// <summary>
    /// Rounds of FASTER's state machine without an end after which a stepped store takes it to hang: there, all that can happen has
    /// happened after a few, and no clock runs.
    /// </summary>
    public const int SteppedRoundsMax = 64;
}
