using System.Net;
using CowScsi.Vdisk.Sessions;
using Microsoft.AspNetCore.Builder;
using Microsoft.AspNetCore.Hosting;
using Microsoft.AspNetCore.Server.Kestrel.Core;
using Microsoft.Extensions.DependencyInjection;
using Microsoft.Extensions.Hosting;
using Microsoft.Extensions.Logging;

namespace CowScsi.Vdisk.Control;

/// <summary>The server of the control socket: HTTP/1.1 and JSON, each request handed to the session that has the store open.</summary>
internal sealed class ControlServer : IAsyncDisposable
{
    /// <summary>Commands at work at one time; the next one waits in the backlog of the socket.</summary>
    private const int ConnectionsMax = 256;

    /// <summary>How long requests under way may finish when the server stops; imports and exports are told at once.</summary>
    private static readonly TimeSpan StopTimeout = TimeSpan.FromSeconds(5);

    private readonly WebApplication application;
    private readonly ControlSocket socket;

    private ControlServer(WebApplication application, ControlSocket socket)
    {
        this.application = application;
        this.socket = socket;
    }

    /// <summary>Answers on the socket from the moment the task completes; owns the socket from then on.</summary>
    public static async Task<ControlServer> StartAsync(ControlSocket socket, IStoreSession session, Action<string> notice)
    {
        var builder = WebApplication.CreateEmptyBuilder(new WebApplicationOptions { ApplicationName = "vdisk" });
        builder.Logging.ClearProviders();
        builder.Services.AddRoutingCore();
        builder.Services.Configure<HostOptions>(options => options.ShutdownTimeout = StopTimeout);
        // Signals are the program's: the host must not end the process on its own.
        builder.Services.AddSingleton<IHostLifetime, NoLifetime>();
        builder.WebHost.UseKestrelCore().ConfigureKestrel(options =>
        {
            options.AddServerHeader = false;
            options.Limits.MaxConcurrentConnections = ConnectionsMax;
            options.Limits.MaxRequestBodySize = ControlProtocol.DocumentBytesMax;
            // An import may come from a slow pipe, an export may go to one.
            options.Limits.MinRequestBodyDataRate = null;
            options.Limits.MinResponseDataRate = null;
            options.Listen(new IPEndPoint(IPAddress.Loopback, 0), listen => listen.Protocols = HttpProtocols.Http1);
        });
        // The endpoint above is a placeholder: what is listened on is the socket that was bound with its mode already right.
        builder.WebHost.UseSockets(options => options.CreateBoundListenSocket = _ => socket.Listener);
        var application = builder.Build();
        var routes = new ControlRoutes(session, application.Lifetime.ApplicationStopping, notice);
        routes.MapTo(application);
        try
        {
            await application.StartAsync();
        }
        catch
        {
            await application.DisposeAsync();
            throw;
        }

        return new ControlServer(application, socket);
    }

    /// <summary>Stops listening, lets short requests end, removes the socket.</summary>
    public async ValueTask DisposeAsync()
    {
        using (var timeout = new CancellationTokenSource(StopTimeout))
            await application.StopAsync(timeout.Token);
        await application.DisposeAsync();
        socket.Dispose();
    }

    /// <summary>A host that neither waits for a console nor reacts to signals.</summary>
    private sealed class NoLifetime : IHostLifetime
    {
        public Task WaitForStartAsync(CancellationToken cancellationToken) => Task.CompletedTask;

        public Task StopAsync(CancellationToken cancellationToken) => Task.CompletedTask;
    }
}
