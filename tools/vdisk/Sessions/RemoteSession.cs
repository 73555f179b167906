using System.Globalization;
using System.Net;
using System.Net.Http.Headers;
using System.Net.Sockets;
using System.Runtime.CompilerServices;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Sessions;

/// <summary>A store that a running server has open, reached through its control socket.</summary>
internal sealed partial class RemoteSession : IStoreSession
{
    /// <summary>How long a server may take to say whether it wants an import's contents: it derives a key and creates the disk first.</summary>
    private static readonly TimeSpan ExpectContinueTimeout = TimeSpan.FromMinutes(1);

    /// <summary>How long an import that was interrupted waits for the server to undo it, before it simply hangs up.</summary>
    private static readonly TimeSpan UndoTimeout = TimeSpan.FromSeconds(5);

    private readonly HttpClient http;

    /// <param name="storeDirectory">Where further connections are made to.</param>
    /// <param name="connected">The connection that found the server.</param>
    public RemoteSession(string storeDirectory, Socket connected)
    {
        Socket? first = connected;
        var handler = new SocketsHttpHandler
        {
            UseProxy = false,
            UseCookies = false,
            AllowAutoRedirect = false,
            Expect100ContinueTimeout = ExpectContinueTimeout,
            ConnectCallback = async (_, cancellation) =>
            {
                var socket = Interlocked.Exchange(ref first, null) ?? await ControlSocket.TryConnectAsync(storeDirectory, cancellation)
                    ?? throw CommandException.Failed($"the server of '{storeDirectory}' has stopped");
                return new NetworkStream(socket, ownsSocket: true);
            },
        };
        http = new HttpClient(handler)
        {
            // The name is never resolved: the callback above is the connection.
            BaseAddress = new Uri("http://vdisk/"),
            Timeout = Timeout.InfiniteTimeSpan,
            DefaultRequestVersion = HttpVersion.Version11,
        };
    }

    public async ValueTask<StoreDocument> GetStoreAsync(CancellationToken cancellation) =>
        (await AskAsync(HttpMethod.Get, ControlProtocol.StorePath, null, null, DocumentContext.Default.StoreAnswer, cancellation)).Store;

    public async ValueTask<IReadOnlyList<DiskDocument>> ListDisksAsync(CancellationToken cancellation) =>
        (await AskAsync(HttpMethod.Get, ControlProtocol.DisksPath, null, null, DocumentContext.Default.DisksAnswer, cancellation)).Disks;

    public ValueTask<DiskDocument> GetDiskAsync(string disk, CancellationToken cancellation) =>
        AskDiskAsync(HttpMethod.Get, DiskPath(disk), null, null, cancellation);

    public ValueTask<DiskDocument> CreateDiskAsync(DiskRequest request, Passphrase? passphrase, CancellationToken cancellation) =>
        AskDiskAsync(
            HttpMethod.Post, ControlProtocol.DisksPath, Document(request, DocumentContext.Default.DiskRequest), passphrase, cancellation);

    public async ValueTask DeleteDiskAsync(string disk, CancellationToken cancellation) =>
        await AskAsync(HttpMethod.Delete, DiskPath(disk), null, null, DocumentContext.Default.DeletedAnswer, cancellation);

    public ValueTask<DiskDocument> ResizeDiskAsync(string disk, long sizeBytes, bool allowShrink, CancellationToken cancellation) =>
        AskDiskAsync(
            HttpMethod.Post, DiskPath(disk) + "/resize",
            Document(new ResizeRequest(sizeBytes, allowShrink), DocumentContext.Default.ResizeRequest), null, cancellation);

    public async ValueTask<SnapshotDocument> CreateSnapshotAsync(string disk, string snapshot, CancellationToken cancellation) =>
        (await AskAsync(
            HttpMethod.Post, DiskPath(disk) + "/snapshots",
            Document(new SnapshotRequest(snapshot), DocumentContext.Default.SnapshotRequest), null,
            DocumentContext.Default.SnapshotAnswer, cancellation)).Snapshot;

    public async ValueTask DeleteSnapshotAsync(string disk, string snapshot, CancellationToken cancellation) =>
        await AskAsync(
            HttpMethod.Delete, SnapshotPath(disk, snapshot), null, null, DocumentContext.Default.DeletedAnswer, cancellation);

    public ValueTask<DiskDocument> CloneAsync(
        string disk, string snapshot, string name, Passphrase? passphrase, CancellationToken cancellation) =>
        AskDiskAsync(
            HttpMethod.Post, SnapshotPath(disk, snapshot) + "/clones",
            Document(new CloneRequest(name), DocumentContext.Default.CloneRequest), passphrase, cancellation);

    public async IAsyncEnumerable<DiffRunDocument> DiffAsync(
        string disk, string older, string? newer, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var path = $"{DiskPath(disk)}/diff?older={Uri.EscapeDataString(older)}" + (newer is null ? "" : $"&newer={Uri.EscapeDataString(newer)}");
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), null, cancellation);
        await foreach (var line in LinesAsync(answer, DocumentContext.Default.DiffLine, cancellation))
        {
            if (line.Failure is not null)
                throw ToException(line.Failure);
            if (line.End)
                yield break;
            if (line.Run is not null)
                yield return line.Run;
        }

        throw CutOff();
    }

    public async ValueTask<CheckDocument> CheckAsync(IProgress<double>? progress, CancellationToken cancellation)
    {
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Post, ControlProtocol.CheckPath), null, cancellation);
        await foreach (var line in LinesAsync(answer, DocumentContext.Default.CheckLine, cancellation))
        {
            if (line.Failure is not null)
                throw ToException(line.Failure);
            if (line.Check is not null)
                return line.Check;
            if (line.Progress is { } fraction)
                progress?.Report(fraction);
        }

        throw CutOff();
    }

    public async ValueTask<DiskDocument> ImportAsync(
        DiskRequest request, Passphrase? passphrase, IImportSource source, CancellationToken cancellation)
    {
        var query = string.Create(
            CultureInfo.InvariantCulture,
            $"?disk_size={request.SizeBytes}&block_bytes={request.BlockBytes}&compression={request.Compression}&encryption={request.Encryption}");
        if (source.SizeBytes is { } sizeBytes)
            query += string.Create(CultureInfo.InvariantCulture, $"&source_size={sizeBytes}");
        using var hangUp = new CancellationTokenSource();
        await using var interruption = cancellation.Register(() => hangUp.CancelAfter(UndoTimeout));
        var content = new ImportContent(source, cancellation, hangUp.Token);
        var message = new HttpRequestMessage(HttpMethod.Put, DiskPath(request.Name) + "/content" + query) { Content = content };
        // The server says first whether it wants the contents: a name that is taken costs nothing.
        message.Headers.ExpectContinue = true;
        try
        {
            using var answer = await SendAsync(message, passphrase, hangUp.Token);
            return (await ReadAsync(answer, DocumentContext.Default.DiskAnswer, hangUp.Token)).Disk;
        }
        catch (CommandException) when (content.SourceFailure is not null)
        {
            // Reading the source failed, so the server undid the import: that is the cause to tell.
            System.Runtime.ExceptionServices.ExceptionDispatchInfo.Throw(content.SourceFailure);
            throw;
        }
    }

    public async ValueTask ExportAsync(DiskAddress from, Passphrase? passphrase, IExportSink sink, CancellationToken cancellation)
    {
        var path = DiskPath(from.Disk) + "/content" + (from.Snapshot is null ? "" : "?snapshot=" + Uri.EscapeDataString(from.Snapshot));
        using var answer = await SendAsync(new HttpRequestMessage(HttpMethod.Get, path), passphrase, cancellation);
        try
        {
            await using var stream = await answer.Content.ReadAsStreamAsync(cancellation);
            await CopyFramesAsync(new FrameReader(stream), sink, cancellation);
        }
        catch (Exception error) when (error is InvalidDataException or HttpIOException)
        {
            throw CommandException.Failed($"the export was cut off: {error.Message}", error);
        }
    }

    public ValueTask DisposeAsync()
    {
        http.Dispose();
        return ValueTask.CompletedTask;
    }

    private static async Task CopyFramesAsync(FrameReader frames, IExportSink sink, CancellationToken cancellation)
    {
        var payload = new byte[TransferBuffer.SizeBytes];
        while (true)
        {
            var frame = await frames.ReadAsync(cancellation);
            var bytes = payload.AsMemory(0, frame.PayloadBytes);
            await frames.ReadPayloadAsync(bytes, cancellation);
            switch (frame.Kind)
            {
                case FrameKind.Begin:
                    await sink.BeginAsync(frame.OffsetBytes, cancellation);
                    break;
                case FrameKind.Data:
                    await sink.WriteAsync(frame.OffsetBytes, bytes, cancellation);
                    break;
                case FrameKind.End:
                    await sink.CompleteAsync(cancellation);
                    return;
                default:
                    throw ToException(JsonSerializer.Deserialize(bytes.Span, DocumentContext.Default.ErrorAnswer));
            }
        }
    }

    private static string DiskPath(string disk) => $"{ControlProtocol.DisksPath}/{Uri.EscapeDataString(disk)}";

    private static string SnapshotPath(string disk, string snapshot) => $"{DiskPath(disk)}/snapshots/{Uri.EscapeDataString(snapshot)}";

    private static ByteArrayContent Document<T>(T document, JsonTypeInfo<T> type)
    {
        var content = new ByteArrayContent(JsonSerializer.SerializeToUtf8Bytes(document, type));
        content.Headers.ContentType = MediaTypeHeaderValue.Parse(ControlProtocol.JsonType);
        return content;
    }

    private async ValueTask<DiskDocument> AskDiskAsync(
        HttpMethod method, string path, HttpContent? content, Passphrase? passphrase, CancellationToken cancellation) =>
        (await AskAsync(method, path, content, passphrase, DocumentContext.Default.DiskAnswer, cancellation)).Disk;

    private async Task<T> AskAsync<T>(
        HttpMethod method, string path, HttpContent? content, Passphrase? passphrase, JsonTypeInfo<T> type, CancellationToken cancellation)
        where T : class
    {
        using var answer = await SendAsync(new HttpRequestMessage(method, path) { Content = content }, passphrase, cancellation);
        return await ReadAsync(answer, type, cancellation);
    }

    /// <summary>Sends a request and disposes of it; a refusal becomes the exception that a local session would have thrown.</summary>
    private async Task<HttpResponseMessage> SendAsync(HttpRequestMessage request, Passphrase? passphrase, CancellationToken cancellation)
    {
        using (request)
        {
            if (passphrase is not null)
                request.Headers.TryAddWithoutValidation(ControlProtocol.PassphraseHeader, Convert.ToBase64String(passphrase.Bytes));
            try
            {
                var answer = await http.SendAsync(request, HttpCompletionOption.ResponseHeadersRead, cancellation);
                if (answer.IsSuccessStatusCode)
                    return answer;
                using (answer)
                    throw ToException(await ReadRefusalAsync(answer, cancellation));
            }
            catch (HttpRequestException error)
            {
                throw error.InnerException as CommandException
                    ?? CommandException.Failed($"the connection to the server was lost: {(error.InnerException ?? error).Message}", error);
            }
        }
    }

    private static async Task<ErrorAnswer?> ReadRefusalAsync(HttpResponseMessage answer, CancellationToken cancellation)
    {
        try
        {
            return await ReadAsync(answer, DocumentContext.Default.ErrorAnswer, cancellation);
        }
        catch (CommandException)
        {
            return new ErrorAnswer($"the server refused the request with status {(int)answer.StatusCode}", (int)ExitCode.Failed);
        }
    }

    private static async Task<T> ReadAsync<T>(HttpResponseMessage answer, JsonTypeInfo<T> type, CancellationToken cancellation)
        where T : class
    {
        try
        {
            await using var stream = await answer.Content.ReadAsStreamAsync(cancellation);
            return await JsonSerializer.DeserializeAsync(stream, type, cancellation) ?? throw CutOff();
        }
        catch (Exception error) when (error is JsonException or IOException or HttpRequestException)
        {
            throw CommandException.Failed($"the server's answer cannot be read: {error.Message}", error);
        }
    }

    private static async IAsyncEnumerable<T> LinesAsync<T>(
        HttpResponseMessage answer, JsonTypeInfo<T> type, [EnumeratorCancellation] CancellationToken cancellation)
        where T : class
    {
        await using var stream = await answer.Content.ReadAsStreamAsync(cancellation);
        using var reader = new StreamReader(stream);
        while (await ReadLineAsync(reader, cancellation) is { } line)
            yield return JsonSerializer.Deserialize(line, type) ?? throw CutOff();
    }

    private static async Task<string?> ReadLineAsync(StreamReader reader, CancellationToken cancellation)
    {
        try
        {
            return await reader.ReadLineAsync(cancellation);
        }
        catch (IOException error)
        {
            throw CommandException.Failed($"the server's answer was cut off: {error.Message}", error);
        }
    }

    private static CommandException CutOff() => CommandException.Failed("the server's answer was cut off");

    private static CommandException ToException(ErrorAnswer? refusal) => refusal is null
        ? CutOff()
        : new CommandException(
            Enum.IsDefined((ExitCode)refusal.Code) && refusal.Code != 0 ? (ExitCode)refusal.Code : ExitCode.Failed, refusal.Error);

    /// <summary>An import's contents as the body of a request, made while they are sent.</summary>
    private sealed class ImportContent : HttpContent
    {
        private static readonly byte[] GaveUp = [(byte)'!'];

        private readonly IImportSource source;
        private readonly CancellationToken interruption;
        private readonly CancellationToken hangUp;

        public ImportContent(IImportSource source, CancellationToken interruption, CancellationToken hangUp)
        {
            this.source = source;
            this.interruption = interruption;
            this.hangUp = hangUp;
            Headers.ContentType = MediaTypeHeaderValue.Parse(ControlProtocol.FramesType);
        }

        /// <summary>What went wrong with the source, as opposed to the connection; an interruption is such a thing.</summary>
        public Exception? SourceFailure { get; private set; }

        protected override async Task SerializeToStreamAsync(Stream stream, TransportContext? context)
        {
            var buffer = new TransferBuffer();
            try
            {
                var frames = new FrameWriter(stream);
                while (await ReadSourceAsync(buffer) is { } piece)
                {
                    if (piece.Length == 0)
                    {
                        await frames.WriteAsync(FrameKind.End, piece.OffsetBytes, default, hangUp);
                        return;
                    }

                    await WritePieceAsync(frames, buffer, piece);
                }

                // Said in words instead of by hanging up: the server's answer then means that nothing is left of the import.
                await frames.WriteAsync(FrameKind.Failed, 0, GaveUp, hangUp);
            }
            finally
            {
                buffer.Release();
            }
        }

        protected override bool TryComputeLength(out long length)
        {
            length = -1;
            return false;
        }

        private async ValueTask<ImportPiece?> ReadSourceAsync(TransferBuffer buffer)
        {
            try
            {
                interruption.ThrowIfCancellationRequested();
                return await source.ReadNextAsync(buffer, interruption);
            }
            catch (Exception error)
            {
                SourceFailure = error;
                return null;
            }
        }

        private async ValueTask WritePieceAsync(FrameWriter frames, TransferBuffer buffer, ImportPiece piece)
        {
            var next = 0;
            while (ZeroScan.TryNextRun(buffer.GetSpan()[..piece.Length], next, out var start, out var length))
            {
                await frames.WriteAsync(FrameKind.Data, piece.OffsetBytes + start, buffer.Memory.Slice(start, length), hangUp);
                next = start + length;
            }
        }
    }
}
