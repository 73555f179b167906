using System.Collections.Concurrent;
using System.Net;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Http;
using Microsoft.Extensions.Logging;
using Microsoft.Net.Http.Headers;

namespace CowScsi.Tests.Unit.Library;

/// <summary>A Kestrel that gives one file away, in ranges, with an ETag; it can be stopped and started on the same port, and misbehave.</summary>
internal sealed class WebServer(byte[] content) : IAsyncDisposable
{
    private WebApplication? running;

    public int Port { get; private set; }

    public string Url => $"http://127.0.0.1:{Port}/disk.img";

    /// <summary>What stands for the file's version; another one is another file.</summary>
    public string Version { get; set; } = "\"1\"";

    /// <summary>Answers ranges with the whole file.</summary>
    public bool IgnoresRanges { get; set; }

    /// <summary>Ends the connection in the middle of an answer's body.</summary>
    public bool BreaksOff { get; set; }

    /// <summary>Ranges that were asked for.</summary>
    public ConcurrentQueue<string> Ranges { get; } = new();

    public async Task StartAsync()
    {
        var builder = WebApplication.CreateSlimBuilder();
        builder.Logging.ClearProviders();
        builder.WebHost.ConfigureKestrel(options => options.Listen(IPAddress.Loopback, Port));
        var application = builder.Build();
        application.MapMethods("/disk.img", ["GET", "HEAD"], AnswerAsync);
        await application.StartAsync();
        Port = new Uri(application.Urls.First()).Port;
        running = application;
    }

    public async Task StopAsync()
    {
        if (running is null)
            return;
        await running.DisposeAsync();
        running = null;
    }

    public async ValueTask DisposeAsync() => await StopAsync();

    private async Task AnswerAsync(HttpContext context)
    {
        if (context.Request.Headers.Range.Count > 0)
            Ranges.Enqueue(context.Request.Headers.Range.ToString());
        if (BreaksOff && HttpMethods.IsGet(context.Request.Method))
        {
            context.Response.StatusCode = StatusCodes.Status206PartialContent;
            context.Response.ContentLength = 65536;
            context.Response.Headers.ContentRange = context.Request.Headers.Range.ToString().Replace("bytes=", "bytes ", StringComparison.Ordinal) + $"/{content.Length}";
            await context.Response.Body.WriteAsync(content.AsMemory(0, 1000));
            await context.Response.Body.FlushAsync();
            context.Abort();
            return;
        }

        if (IgnoresRanges)
            context.Request.Headers.Remove(HeaderNames.Range);
        await Results.Bytes(content, entityTag: new EntityTagHeaderValue(Version), enableRangeProcessing: true).ExecuteAsync(context);
    }
}
