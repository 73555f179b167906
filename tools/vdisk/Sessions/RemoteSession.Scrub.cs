using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Scrubs of a store that a server has open.</summary>
internal sealed partial class RemoteSession
{
    /// <summary>The server works on by itself: nothing ends with this session.</summary>
    public bool ScrubsInBackground => true;

    public ValueTask<ScrubDocument> StartScrubAsync(long rateBytes, bool anew, CancellationToken cancellation) =>
        AskScrubAsync(HttpMethod.Post, Document(new ScrubRequest(rateBytes, anew), DocumentContext.Default.ScrubRequest), cancellation);

    public ValueTask<ScrubDocument> StopScrubAsync(CancellationToken cancellation) => AskScrubAsync(HttpMethod.Delete, null, cancellation);

    public ValueTask<ScrubDocument> GetScrubAsync(CancellationToken cancellation) => AskScrubAsync(HttpMethod.Get, null, cancellation);

    private async ValueTask<ScrubDocument> AskScrubAsync(HttpMethod method, HttpContent? content, CancellationToken cancellation) =>
        (await AskAsync(method, ControlProtocol.ScrubPath, content, null, DocumentContext.Default.ScrubAnswer, cancellation)).Scrub;
}
