using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>What a test front end negotiates.</summary>
internal sealed record FrontEndOptions
{
    public bool IsPacked { get; init; }

    public bool HasEventIndex { get; init; } = true;

    public bool HasIndirect { get; init; } = true;

    public int QueueSize { get; init; } = 64;

    public ulong DeviceFeatures { get; init; } = ulong.MaxValue;

    /// <summary>False for a queue that the device polls.</summary>
    public bool HasKick { get; init; } = true;
}

/// <summary>A vhost-user front end: the messages of the protocol over a Unix socket, numbers and layouts written from its document.</summary>
internal sealed class TestFrontEnd : IDisposable
{
    public const ulong ProtocolFeaturesBit = 1UL << 30;
    public const ulong AllProtocolFeatures = 0x1B22B;
    public const int TimeoutMilliseconds = 10_000;

    private readonly Socket socket;
    private readonly List<SafeFileHandle> received = [];

    public TestFrontEnd(string path)
    {
        socket = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified) { ReceiveTimeout = TimeoutMilliseconds };
        socket.Connect(new UnixDomainSocketEndPoint(path));
    }

    public TestFrontEnd(Socket socket) => this.socket = socket;

    /// <summary>Descriptors that came with the last answer.</summary>
    public IReadOnlyList<SafeFileHandle> Received => received;

    public Socket Socket => socket;

    /// <summary>What was negotiated.</summary>
    public ulong Features { get; private set; }

    public static byte[] Number(ulong value) => BitConverter.GetBytes(value);

    public static byte[] Pair(uint index, uint number) => [.. BitConverter.GetBytes(index), .. BitConverter.GetBytes(number)];

    public void Send(uint type, ReadOnlySpan<byte> payload, ReadOnlySpan<SafeFileHandle> descriptors = default, uint flags = 1, int? size = null)
    {
        var bytes = new byte[12 + payload.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, type);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), (uint)(size ?? payload.Length));
        payload.CopyTo(bytes.AsSpan(12));
        LinuxCall.TrySend(socket.SafeHandle, bytes, descriptors, TimeoutMilliseconds);
    }

    /// <summary>Sends a message and takes its answer's payload.</summary>
    public byte[] Ask(uint type, ReadOnlySpan<byte> payload = default, ReadOnlySpan<SafeFileHandle> descriptors = default)
    {
        Send(type, payload, descriptors);
        return ReadAnswer(type);
    }

    public ulong AskNumber(uint type, ReadOnlySpan<byte> payload = default, ReadOnlySpan<SafeFileHandle> descriptors = default) =>
        BitConverter.ToUInt64(Ask(type, payload, descriptors));

    /// <summary>Sends a message and waits until it was carried out (REPLY_ACK).</summary>
    public void Do(uint type, ReadOnlySpan<byte> payload = default, ReadOnlySpan<SafeFileHandle> descriptors = default)
    {
        Send(type, payload, descriptors, flags: 9);
        Assert.Equal(0ul, BitConverter.ToUInt64(ReadAnswer(type)));
    }

    public byte[] ReadAnswer(uint type)
    {
        var header = Read(12);
        Assert.Equal(type, BitConverter.ToUInt32(header));
        Assert.Equal(5u, BitConverter.ToUInt32(header, 4));
        return Read(BitConverter.ToInt32(header, 8));
    }

    /// <summary>Whether the back end has closed the connection.</summary>
    public bool IsClosed()
    {
        try
        {
            return socket.Receive(new byte[1]) == 0;
        }
        catch (SocketException error) when (error.SocketErrorCode == SocketError.ConnectionReset)
        {
            return true;
        }
    }

    /// <summary>Features, protocol features, memory: all but rings.</summary>
    public void Negotiate(FrontEndOptions options, GuestRam ram)
    {
        var offered = AskNumber(1);
        Assert.Equal(AllProtocolFeatures, AskNumber(15));
        Send(16, Number(AllProtocolFeatures));
        Send(3, []);
        var wanted = offered & (options.DeviceFeatures & 0xFFFFFF | 1UL << 32 | ProtocolFeaturesBit);
        wanted |= (options.HasIndirect ? 1UL << 28 : 0) | (options.HasEventIndex ? 1UL << 29 : 0) | (options.IsPacked ? 1UL << 34 : 0);
        Features = wanted;
        Do(2, Number(wanted));
        SetMemory(ram);
    }

    public void SetMemory(params ReadOnlySpan<GuestRam> regions)
    {
        List<byte> table = [.. BitConverter.GetBytes((ulong)regions.Length)];
        List<SafeFileHandle> files = [];
        foreach (var region in regions)
        {
            table.AddRange(region.Describe());
            files.Add(region.File);
        }

        Do(5, table.ToArray(), files.ToArray());
    }

    public void SetRing(uint index, DriverQueue queue, SafeFileHandle? kick, SafeFileHandle call, uint? baseIndex = null)
    {
        Do(8, Pair(index, (uint)queue.Size));
        Do(10, Pair(index, baseIndex ?? queue.InitialBase));
        Do(9, RingAddress(index, queue));
        Do(13, Number(index), [call]);
        if (kick is null)
            Do(12, Number(index | 0x100));
        else
            Do(12, Number(index), [kick]);
        Do(18, Pair(index, 1));
    }

    public static byte[] RingAddress(uint index, DriverQueue queue, uint flags = 0, ulong log = 0)
    {
        var bytes = new byte[40];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, index);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), flags);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), queue.Ram.UserOf(queue.Descriptors));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), queue.Ram.UserOf(queue.DeviceArea));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), queue.Ram.UserOf(queue.DriverArea));
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(32), log);
        return bytes;
    }

    public uint StopRing(uint index) => BitConverter.ToUInt32(Ask(11, Pair(index, 0)), 4);

    public void Dispose()
    {
        foreach (var file in received)
            file.Dispose();
        socket.Dispose();
    }

    private byte[] Read(int count)
    {
        var bytes = new byte[count];
        for (var done = 0; done < count;)
        {
            Assert.True(socket.Poll(TimeoutMilliseconds * 1000, SelectMode.SelectRead), "the back end does not answer");
            var read = LinuxCall.Receive(socket.SafeHandle, bytes.AsSpan(done), received, 8, out _);
            Assert.True(read > 0, "the back end closed the connection");
            done += (int)read;
        }

        return bytes;
    }
}
