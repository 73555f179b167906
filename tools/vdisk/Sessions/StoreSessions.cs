using System.Runtime.CompilerServices;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Sessions;

/// <summary>Opens a store for one command: through its running server where there is one, else itself.</summary>
internal static class StoreSessions
{
    public static async ValueTask<IStoreSession> OpenAsync(string directory, StoreOptions options, CancellationToken cancellation)
    {
        if (await TryReachServerAsync(directory, cancellation) is { } remote)
            return remote;
        var store = DiskStore.Open(directory, options);
        return new LocalSession(store, new StoredTargets(store)) { Notice = options.Notice ?? (static _ => { }) };
    }

    /// <summary>The session of the server that has the store open; null where none runs.</summary>
    public static async ValueTask<IStoreSession?> TryReachServerAsync(string directory, CancellationToken cancellation)
    {
        // The types of sockets and HTTP are loaded only where there is somebody to talk to: most commands are over in less time.
        return File.Exists(Path.Combine(directory, ControlSocket.FileName)) ? await TryConnectAsync(directory, cancellation) : null;
    }

    [MethodImpl(MethodImplOptions.NoInlining)]
    private static async ValueTask<IStoreSession?> TryConnectAsync(string directory, CancellationToken cancellation)
    {
        var socket = await ControlSocket.TryConnectAsync(directory, cancellation);
        return socket is null ? null : new RemoteSession(directory, socket);
    }
}
