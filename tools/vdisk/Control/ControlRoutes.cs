using System.Text.Json;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Sessions;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Http;
using Microsoft.AspNetCore.Http.Features;

namespace CowScsi.Vdisk.Control;

/// <summary>
/// What can be asked of a running server, one handler a route. Everything that comes in is checked before the session sees it: whoever
/// may connect is trusted with the store, but not with the server's life.
/// </summary>
internal sealed partial class ControlRoutes
{
    private readonly IStoreSession session;
    private readonly CancellationToken stopping;
    private readonly Action<string> notice;

    public ControlRoutes(IStoreSession session, CancellationToken stopping, Action<string> notice)
    {
        this.session = session;
        this.stopping = stopping;
        this.notice = notice;
    }

    public void MapTo(WebApplication application)
    {
        const string disk = ControlProtocol.DisksPath + "/{disk}";
        const string snapshot = disk + "/snapshots/{snapshot}";
        application.MapGet(ControlProtocol.StorePath, Guarded(GetStoreAsync));
        application.MapGet(ControlProtocol.DisksPath, Guarded(ListDisksAsync));
        application.MapPost(ControlProtocol.DisksPath, Guarded(CreateDiskAsync));
        application.MapGet(disk, Guarded(GetDiskAsync));
        application.MapDelete(disk, Guarded(DeleteDiskAsync));
        application.MapPost(disk + "/resize", Guarded(ResizeDiskAsync));
        application.MapPost(disk + "/snapshots", Guarded(CreateSnapshotAsync));
        application.MapDelete(snapshot, Guarded(DeleteSnapshotAsync));
        application.MapPost(snapshot + "/clones", Guarded(CloneAsync));
        application.MapGet(disk + "/diff", Guarded(DiffAsync));
        application.MapPut(disk + "/content", Guarded(ImportAsync));
        application.MapGet(disk + "/content", Guarded(ExportAsync));
        application.MapPost(ControlProtocol.CheckPath, Guarded(CheckAsync));
        MapScrubTo(application);
        MapTargetsTo(application);
        MapAttachmentsTo(application);
        MapVhostTo(application);
        application.MapFallback("{**path}", Guarded((_, _) => throw new CommandException(ExitCode.Usage, "no such request on the control socket")));
    }

    private async Task GetStoreAsync(HttpContext http, CancellationToken cancellation) =>
        await AnswerAsync(http, new StoreAnswer(await session.GetStoreAsync(cancellation)), DocumentContext.Default.StoreAnswer);

    private async Task ListDisksAsync(HttpContext http, CancellationToken cancellation) =>
        await AnswerAsync(http, new DisksAnswer(await session.ListDisksAsync(cancellation)), DocumentContext.Default.DisksAnswer);

    private async Task GetDiskAsync(HttpContext http, CancellationToken cancellation) =>
        await AnswerDiskAsync(http, await session.GetDiskAsync(Name(http, "disk"), cancellation));

    private async Task CreateDiskAsync(HttpContext http, CancellationToken cancellation)
    {
        var request = await ReadAsync(http, DocumentContext.Default.DiskRequest, cancellation);
        Check("disk", request.Name);
        using var passphrase = ReadPassphrase(http);
        await AnswerDiskAsync(http, await session.CreateDiskAsync(request, passphrase, cancellation));
    }

    private async Task DeleteDiskAsync(HttpContext http, CancellationToken cancellation)
    {
        var disk = Name(http, "disk");
        await session.DeleteDiskAsync(disk, cancellation);
        await AnswerAsync(http, new DeletedAnswer(disk), DocumentContext.Default.DeletedAnswer);
    }

    private async Task ResizeDiskAsync(HttpContext http, CancellationToken cancellation)
    {
        var disk = Name(http, "disk");
        var request = await ReadAsync(http, DocumentContext.Default.ResizeRequest, cancellation);
        await AnswerDiskAsync(http, await session.ResizeDiskAsync(disk, request.SizeBytes, request.Shrink, cancellation));
    }

    private async Task CreateSnapshotAsync(HttpContext http, CancellationToken cancellation)
    {
        var disk = Name(http, "disk");
        var request = await ReadAsync(http, DocumentContext.Default.SnapshotRequest, cancellation);
        Check("snapshot", request.Name);
        var snapshot = await session.CreateSnapshotAsync(disk, request.Name, cancellation);
        await AnswerAsync(http, new SnapshotAnswer(snapshot), DocumentContext.Default.SnapshotAnswer);
    }

    private async Task DeleteSnapshotAsync(HttpContext http, CancellationToken cancellation)
    {
        var address = new DiskAddress(Name(http, "disk"), Name(http, "snapshot"));
        await session.DeleteSnapshotAsync(address.Disk, address.Snapshot!, cancellation);
        await AnswerAsync(http, new DeletedAnswer(address.ToString()), DocumentContext.Default.DeletedAnswer);
    }

    private async Task CloneAsync(HttpContext http, CancellationToken cancellation)
    {
        var disk = Name(http, "disk");
        var snapshot = Name(http, "snapshot");
        var request = await ReadAsync(http, DocumentContext.Default.CloneRequest, cancellation);
        Check("disk", request.Name);
        using var passphrase = ReadPassphrase(http);
        await AnswerDiskAsync(http, await session.CloneAsync(disk, snapshot, request.Name, passphrase, cancellation));
    }

    private async Task DiffAsync(HttpContext http, CancellationToken cancellation)
    {
        var disk = Name(http, "disk");
        var older = Query(http, "older") ?? throw CommandException.Usage("a diff needs the older snapshot");
        var newer = Query(http, "newer");
        Check("snapshot", older);
        if (newer is not null)
            Check("snapshot", newer);
        await using var runs = session.DiffAsync(disk, older, newer, cancellation).GetAsyncEnumerator(cancellation);
        // The first step finds out whether the names exist: until then the answer can still be a refusal.
        var more = await runs.MoveNextAsync();
        http.Response.ContentType = ControlProtocol.JsonLinesType;
        var end = new DiffLine(Run: null, End: true, Failure: null);
        try
        {
            for (; more; more = await runs.MoveNextAsync())
                await WriteLineAsync(http, new DiffLine(runs.Current, End: false, Failure: null), DocumentContext.Default.DiffLine, cancellation);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            end = new DiffLine(Run: null, End: false, Explain(error));
        }

        await WriteLineAsync(http, end, DocumentContext.Default.DiffLine, cancellation);
    }

    private async Task CheckAsync(HttpContext http, CancellationToken cancellation)
    {
        http.Response.ContentType = ControlProtocol.JsonLinesType;
        CheckLine last;
        try
        {
            // Progress is reported from the checking thread; the response belongs to this one, which looks at it now and then.
            var progress = new LatestFraction();
            var check = session.CheckAsync(progress, cancellation).AsTask();
            while (await Task.WhenAny(check, Task.Delay(ProgressInterval, cancellation)) != check)
            {
                cancellation.ThrowIfCancellationRequested();
                await WriteLineAsync(http, new CheckLine(progress.Value, null, null), DocumentContext.Default.CheckLine, cancellation);
                await http.Response.Body.FlushAsync(cancellation);
            }

            last = new CheckLine(null, await check, null);
        }
        catch (Exception error) when (error is not OperationCanceledException)
        {
            last = new CheckLine(null, null, Explain(error));
        }

        await WriteLineAsync(http, last, DocumentContext.Default.CheckLine, cancellation);
    }

    private async Task ImportAsync(HttpContext http, CancellationToken cancellation)
    {
        var request = new DiskRequest
        {
            Name = Name(http, "disk"),
            SizeBytes = Number(http, "disk_size") ?? 0,
            BlockBytes = (int)Math.Min(Number(http, "block_bytes") ?? 512, int.MaxValue), // Whatever is not 512 or 4096 is refused.
            Compression = Query(http, "compression") ?? CodecNames.None,
            Encryption = Query(http, "encryption") ?? CodecNames.None,
        };
        var sourceBytes = Number(http, "source_size");
        using var passphrase = ReadPassphrase(http);
        http.Features.GetRequiredFeature<IHttpMaxRequestBodySizeFeature>().MaxRequestBodySize = null;
        await using var source = new FrameSource(http.Request.Body, sourceBytes);
        await AnswerDiskAsync(http, await session.ImportAsync(request, passphrase, source, cancellation));
    }

    private async Task ExportAsync(HttpContext http, CancellationToken cancellation)
    {
        var from = new DiskAddress(Name(http, "disk"), Query(http, "snapshot"));
        if (from.Snapshot is not null)
            Check("snapshot", from.Snapshot);
        using var passphrase = ReadPassphrase(http);
        http.Response.ContentType = ControlProtocol.FramesType;
        await using var sink = new FrameSink(http.Response.Body);
        try
        {
            await session.ExportAsync(from, passphrase, sink, cancellation);
        }
        catch (Exception error) when (sink.HasBegun && error is not OperationCanceledException)
        {
            await sink.FailAsync(JsonSerializer.SerializeToUtf8Bytes(Explain(error), DocumentContext.Default.ErrorAnswer), cancellation);
        }
    }
}
