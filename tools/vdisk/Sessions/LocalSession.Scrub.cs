using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Scrubs of a store that this process has open.</summary>
internal sealed partial class LocalSession
{
    public bool ScrubsInBackground => served.IsServer;

    public ValueTask<ScrubDocument> StartScrubAsync(long rateBytes, bool anew, CancellationToken cancellation)
    {
        store.StartScrub(rateBytes, anew);
        return GetScrubAsync(cancellation);
    }

    /// <summary>Goes on with what the end of another server interrupted.</summary>
    public void ResumeScrub() => store.ResumeScrub();

    public ValueTask<ScrubDocument> StopScrubAsync(CancellationToken cancellation)
    {
        store.StopScrub();
        return GetScrubAsync(cancellation);
    }

    public ValueTask<ScrubDocument> GetScrubAsync(CancellationToken cancellation) => new(store.GetScrub().ToDocument());
}
