using System.Globalization;
using System.Security.Cryptography;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CowScsi.Engine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Text;
using Microsoft.AspNetCore.Http;

namespace CowScsi.Vdisk.Control;

/// <summary>How requests are read and answered, and how every failure becomes an error document.</summary>
internal sealed partial class ControlRoutes
{
    /// <summary>How often a client hears of progress.</summary>
    private static readonly TimeSpan ProgressInterval = TimeSpan.FromMilliseconds(200);

    private static readonly byte[] NewLine = [(byte)'\n'];

    private RequestDelegate Guarded(Func<HttpContext, CancellationToken, Task> handler) => async http =>
    {
        using var ended = CancellationTokenSource.CreateLinkedTokenSource(http.RequestAborted, stopping);
        try
        {
            await handler(http, ended.Token);
        }
        catch (Exception error)
        {
            await RefuseAsync(http, error, ended.Token);
        }
    };

    private async Task RefuseAsync(HttpContext http, Exception error, CancellationToken ended)
    {
        var isInterruption = error is OperationCanceledException && ended.IsCancellationRequested;
        if (http.RequestAborted.IsCancellationRequested)
            return; // The client is gone: there is nobody to tell.
        if (http.Response.HasStarted)
        {
            // A cut-off answer is the only way left to say that it does not count; clients check for the last line or frame.
            http.Abort();
            return;
        }

        var answer = isInterruption ? new ErrorAnswer("the server is stopping", (int)ExitCode.Failed) : Explain(error);
        http.Response.Clear();
        http.Response.StatusCode = ControlProtocol.ToHttpStatus((ExitCode)answer.Code);
        await AnswerAsync(http, answer, DocumentContext.Default.ErrorAnswer);
    }

    private ErrorAnswer Explain(Exception error)
    {
        switch (error)
        {
            case CommandException refusal:
                return new ErrorAnswer(refusal.Message, (int)refusal.Code);
            case StoreException refusal:
                return new ErrorAnswer(refusal.Message, (int)ExitCodes.From(refusal.Error));
            case JsonException:
                return new ErrorAnswer("the request's document is not valid: " + DiskAddress.Printable(error.Message), (int)ExitCode.Usage);
            case BadHttpRequestException or InvalidDataException:
                return new ErrorAnswer("the request is not valid: " + DiskAddress.Printable(error.Message), (int)ExitCode.Usage);
            default:
                // A defect of ours: the operator sees what kind, the client that it was not its fault.
                notice($"a request on the control socket failed: {error.GetType().Name}: {error.Message}");
                return new ErrorAnswer($"the server failed: {error.Message}", (int)ExitCode.Failed);
        }
    }

    private static string Name(HttpContext http, string kind)
    {
        var name = (string?)http.Request.RouteValues[kind] ?? "";
        Check(kind, name);
        return name;
    }

    private static void Check(string kind, string name)
    {
        if (DiskAddress.ExplainName(kind, name) is { } problem)
            throw CommandException.Usage(problem);
    }

    private static string? Query(HttpContext http, string key) => http.Request.Query[key] is [{ } only] ? only : null;

    private static long? Number(HttpContext http, string key)
    {
        if (Query(http, key) is not { } text)
            return null;
        return long.TryParse(text, NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            ? number
            : throw CommandException.Usage($"'{key}' is not a number");
    }

    private static Passphrase? ReadPassphrase(HttpContext http)
    {
        if (http.Request.Headers[ControlProtocol.PassphraseHeader] is not [{ } text])
            return null;
        var bytes = GC.AllocateArray<byte>(Passphrase.BytesMax + 2, pinned: true);
        try
        {
            return Convert.TryFromBase64String(text, bytes, out var length)
                ? Passphrase.FromBytes(bytes.AsSpan(0, length))
                : throw new CommandException(ExitCode.Key, "the passphrase of the request cannot be read");
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bytes);
        }
    }

    private static async Task<T> ReadAsync<T>(HttpContext http, JsonTypeInfo<T> type, CancellationToken cancellation)
        where T : class
    {
        try
        {
            return await JsonSerializer.DeserializeAsync(http.Request.Body, type, cancellation)
                ?? throw CommandException.Usage("the request has no document");
        }
        catch (NotSupportedException error)
        {
            // The reader's word for a document of which there are several kinds, and that does not say which it is.
            throw new CommandException(ExitCode.Usage, "the request's document does not say of which kind it is", error);
        }
    }

    private static Task AnswerDiskAsync(HttpContext http, DiskDocument disk) =>
        AnswerAsync(http, new DiskAnswer(disk), DocumentContext.Default.DiskAnswer);

    private static async Task AnswerAsync<T>(HttpContext http, T answer, JsonTypeInfo<T> type)
    {
        http.Response.ContentType = ControlProtocol.JsonType;
        await JsonSerializer.SerializeAsync(http.Response.Body, answer, type, http.RequestAborted);
    }

    private static async ValueTask WriteLineAsync<T>(HttpContext http, T line, JsonTypeInfo<T> type, CancellationToken cancellation)
    {
        await http.Response.Body.WriteAsync(JsonSerializer.SerializeToUtf8Bytes(line, type), cancellation);
        await http.Response.Body.WriteAsync(NewLine, cancellation);
    }

    /// <summary>Keeps the last fraction that a check reported, for whoever asks.</summary>
    private sealed class LatestFraction : IProgress<double>
    {
        private double value;

        public double Value => Volatile.Read(ref value);

        void IProgress<double>.Report(double fraction) => Volatile.Write(ref value, fraction);
    }
}
