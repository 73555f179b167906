using System.Net.Sockets;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>Two connected sockets: one to keep, one to send to the back end.</summary>
internal sealed class TestSocketPair : IDisposable
{
    private readonly Socket mine = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = TestFrontEnd.TimeoutMilliseconds };
    private readonly Socket other;
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("pair-");

    public TestSocketPair()
    {
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder.FullName, "pair")));
        listener.Listen(1);
        mine.Connect(listener.LocalEndPoint!);
        other = listener.Accept();
        Theirs = new SafeFileHandle(other.Handle, ownsHandle: false);
    }

    public SafeFileHandle Theirs { get; }

    public byte[] Read(int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
            done += mine.Receive(bytes.AsSpan(done));
        return bytes;
    }

    public void Dispose()
    {
        mine.Dispose();
        other.Dispose();
        Theirs.Dispose();
        folder.Delete(recursive: true);
    }
}
