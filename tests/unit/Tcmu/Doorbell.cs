using System.Net.Sockets;
using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>A UIO device's doorbell, played by a pair of sockets: four bytes one way are a call, four bytes the other way an answer.</summary>
internal sealed class Doorbell : IDisposable
{
    private const int Unix = 1;
    private const int Stream = 1;
    private const int NonBlocking = 0x800;
    private const int SetFlags = 4;
    private const int CloseOnExec = 0x80000;

    private readonly Socket kernel;

    public Doorbell()
    {
        var pair = new int[2];
        if (socketpair(Unix, Stream | CloseOnExec, 0, pair) != 0)
            throw new IOException($"socketpair: {Marshal.GetLastPInvokeError()}");
        // Only the server's end never waits.
        if (fcntl(pair[0], SetFlags, NonBlocking) != 0)
            throw new IOException($"fcntl: {Marshal.GetLastPInvokeError()}");
        Server = new SafeFileHandle(pair[0], ownsHandle: true);
        kernel = new Socket(new SafeSocketHandle(pair[1], ownsHandle: true)) { Blocking = true, ReceiveTimeout = 20_000 };
    }

    /// <summary>What the server has open.</summary>
    public SafeFileHandle Server { get; }

    public void Ring() => kernel.Send([1, 0, 0, 0]);

    /// <summary>Waits for an answer.</summary>
    public void WaitForAnswer()
    {
        var bytes = new byte[4];
        for (var got = 0; got < bytes.Length;)
        {
            var more = kernel.Receive(bytes, got, bytes.Length - got, SocketFlags.None);
            if (more == 0)
                throw new IOException("the server hung up");
            got += more;
        }
    }

    /// <summary>The kernel removes the device.</summary>
    public void HangUp() => kernel.Dispose();

    public void Dispose()
    {
        kernel.Dispose();
        Server.Dispose();
    }

    [DllImport("libc", SetLastError = true)]
    private static extern int fcntl(int descriptor, int command, int argument);

    [DllImport("libc", SetLastError = true)]
    private static extern int socketpair(int domain, int type, int protocol, int[] pair);
}
