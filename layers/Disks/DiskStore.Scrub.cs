using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Scrubbing: the whole log is read and verified in the background, at a bounded rate.</summary>
public sealed partial class DiskStore
{
    /// <summary>Begins a scrub, or goes on with one that was stopped; one that is under way goes on with the new rate.</summary>
    /// <param name="rateBytes">Bytes a second at most.</param>
    /// <param name="anew">Begin at the beginning, whatever was done before.</param>
    public void StartScrub(long rateBytes, bool anew) => store.StartScrub(rateBytes, anew);

    /// <summary>Goes on with a scrub that the end of another process interrupted; true where there is one.</summary>
    public bool ResumeScrub() => store.ResumeScrub();

    /// <summary>Stops a scrub where it is; false where none is under way.</summary>
    public bool StopScrub() => store.StopScrub();

    /// <summary>Waits until no scrub is under way; false where the time ran out before.</summary>
    public bool WaitForScrub(TimeSpan patience, CancellationToken cancellation) => store.WaitForScrub(patience, cancellation);

    /// <summary>The last scrub, or the one that is under way; null where there was none.</summary>
    public ScrubStatus? GetScrub() => store.GetScrub();
}
