using System.ComponentModel;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Vdisk.Control;

/// <summary>
/// The Unix socket of a running server, `control.sock` in the store's directory. An address of this family holds 108 bytes, a path may be
/// longer: both sides name the directory by a descriptor, /proc/self/fd/N/control.sock, which is short wherever the store lies.
/// </summary>
internal sealed class ControlSocket : IDisposable
{
    public const string FileName = "control.sock";

    /// <summary>rw for the owner: whoever may connect may read every disk.</summary>
    private const uint OwnerOnly = 0x180;

    private const int Backlog = 64;

    private readonly SafeFileHandle directory;
    private readonly string path;
    private bool isRemoved;

    private ControlSocket(SafeFileHandle directory, Socket listener)
    {
        this.directory = directory;
        path = PathThrough(directory);
        Listener = listener;
    }

    public Socket Listener { get; }

    /// <summary>
    /// Binds and listens. The caller holds the store open, so a socket that lies there belongs to a server that is dead.
    /// </summary>
    public static ControlSocket Listen(string storeDirectory)
    {
        var directory = OpenDirectory(storeDirectory);
        var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            var path = PathThrough(directory);
            File.Delete(path);
            // Linux gives the file the mode of the socket's own inode, less the umask (unix_bind): set before bind, it is never wider,
            // and the process-wide umask, which other threads create files under, stays as it is.
            if (NativeCalls.FChMod(listener.SafeHandle, OwnerOnly) != 0)
                throw CommandException.Failed($"cannot restrict the control socket: {LastError()}");
            listener.Bind(new UnixDomainSocketEndPoint(path));
            if ((uint)File.GetUnixFileMode(path) != OwnerOnly)
                throw CommandException.Failed($"the control socket in '{storeDirectory}' would be open to other users");
            listener.Listen(Backlog);
            return new ControlSocket(directory, listener);
        }
        catch (SocketException error)
        {
            listener.Dispose();
            directory.Dispose();
            throw CommandException.Failed($"cannot listen on the control socket in '{storeDirectory}': {error.Message}", error);
        }
        catch
        {
            listener.Dispose();
            directory.Dispose();
            throw;
        }
    }

    /// <summary>Connects to the server of a store; null where none runs (no socket, or one whose server is dead).</summary>
    public static async ValueTask<Socket?> TryConnectAsync(string storeDirectory, CancellationToken cancellation)
    {
        if (!File.Exists(Path.Combine(storeDirectory, FileName)))
            return null;
        using var directory = OpenDirectory(storeDirectory);
        var socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        try
        {
            await socket.ConnectAsync(new UnixDomainSocketEndPoint(PathThrough(directory)), cancellation);
            return socket;
        }
        catch (SocketException error)
        {
            socket.Dispose();
            // ConnectionRefused: nobody listens any more. The rest: the server removed the socket between our look and our call.
            if (error.SocketErrorCode is SocketError.ConnectionRefused or SocketError.AddressNotAvailable or SocketError.HostNotFound)
                return null;
            if (error.SocketErrorCode == SocketError.AccessDenied)
                throw CommandException.Failed($"the server of '{storeDirectory}' belongs to another user: permission denied", error);
            if (!File.Exists(Path.Combine(storeDirectory, FileName)))
                return null;
            throw CommandException.Failed($"cannot reach the server of '{storeDirectory}': {error.Message}", error);
        }
        catch
        {
            socket.Dispose();
            throw;
        }
    }

    /// <summary>Removes the socket's file. Called while the store is still held: afterwards the file may be the next server's.</summary>
    public void Remove()
    {
        if (isRemoved)
            return;
        isRemoved = true;
        Listener.Dispose();
        File.Delete(path);
    }

    public void Dispose()
    {
        Remove();
        directory.Dispose();
    }

    private static SafeFileHandle OpenDirectory(string storeDirectory) =>
        NativeCalls.TryOpenPath(storeDirectory) ?? throw CommandException.Failed($"cannot open '{storeDirectory}': {LastError()}");

    private static string PathThrough(SafeFileHandle directory) => $"/proc/self/fd/{directory.DangerousGetHandle()}/{FileName}";

    private static string LastError() => new Win32Exception(Marshal.GetLastPInvokeError()).Message;
}
