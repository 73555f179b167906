using System.Net.Sockets;
using System.Text;
using CowScsi.VhostUser.Native;

namespace CowScsi.VhostUser;

/// <summary>Sockets in the file system: making one where nobody serves one.</summary>
internal static class SocketPath
{
    private const int Backlog = 4;

    private const UnixFileMode OwnerOnly = UnixFileMode.UserRead | UnixFileMode.UserWrite;

    public static Socket Create() => new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);

    /// <exception cref="IOException">The path is too long for a socket.</exception>
    public static void Check(string path)
    {
        ArgumentException.ThrowIfNullOrEmpty(path);
        if (Encoding.UTF8.GetByteCount(path) > VhostUserServer.PathBytesMax)
            throw new IOException($"'{path}' is too long for a socket: at most {VhostUserServer.PathBytesMax} bytes");
    }

    /// <summary>A listening socket at a path; see <see cref="VhostUserServer.Listen"/>.</summary>
    public static Socket Listen(string path)
    {
        Check(path);
        RemoveAbandoned(path);
        var socket = Create();
        try
        {
            socket.Bind(new UnixDomainSocketEndPoint(path));
            // Before it listens nobody can connect, so nobody does with wider rights.
            File.SetUnixFileMode(path, OwnerOnly);
            socket.Listen(Backlog);
            return socket;
        }
        catch (SocketException error)
        {
            socket.Dispose();
            throw new IOException($"cannot make the socket '{path}': {error.Message}", error);
        }
    }

    private static void RemoveAbandoned(string path)
    {
        if (!Path.Exists(path))
            return;
        // What is no socket refuses a connection as well, and must stay.
        if (!LinuxCall.IsSocket(path))
            throw new IOException($"'{path}' exists and is no socket");
        using var probe = Create();
        try
        {
            probe.Connect(new UnixDomainSocketEndPoint(path));
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionRefused)
        {
            File.Delete(path);
            return;
        }
        catch (SocketException error)
        {
            throw new IOException($"cannot use the socket '{path}': {error.Message}", error);
        }

        throw new IOException($"the socket '{path}' is served by another process");
    }
}
