using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser;

/// <summary>
/// One front end from its connection to its end: features, memory, rings. Owned by its server's thread; queues have threads of their own
/// and are paused where something of theirs changes.
/// </summary>
internal sealed partial class FrontEndSession
{
    /// <summary>Queues of the largest device: control, event and 64 request queues.</summary>
    public const int QueuesLimit = 66;

    /// <summary>A front end that takes no answer for so long is gone.</summary>
    private const int SendTimeoutMilliseconds = 5000;

    private const VirtioFeatures TransportFeatures = VirtioFeatures.LogAll | VirtioFeatures.IndirectDescriptors | VirtioFeatures.EventIndex |
        VirtioFeatures.ProtocolFeatures | VirtioFeatures.Version1 | VirtioFeatures.RingPacked;

    private readonly VirtioDevice device;
    private readonly Socket socket;
    private readonly Action<string> log;
    private readonly Action requestCheck;
    private readonly DeviceConnection connection;
    private readonly RingState[] rings;
    private readonly Lock backEndGate = new();
    private SafeFileHandle? backEndSocket;
    private bool isConfigChangeDue;
    private VirtioFeatures features;
    private ProtocolFeatures protocolFeatures;
    private bool hasSetFeatures;
    private byte status;
    private long faultsSeen = MemoryFaults.Count;

    /// <param name="device">What is served.</param>
    /// <param name="socket">The connection; the session closes it.</param>
    /// <param name="log">Takes lines for the operator.</param>
    /// <param name="requestCheck">Makes the server's thread call <see cref="CheckMemory"/>; from any thread.</param>
    public FrontEndSession(VirtioDevice device, Socket socket, Action<string> log, Action requestCheck)
    {
        this.device = device;
        this.socket = socket;
        this.log = log;
        this.requestCheck = requestCheck;
        connection = new DeviceConnection(OnConfigChanged, log);
        rings = new RingState[device.QueuesMax];
        for (var i = 0; i < rings.Length; i++)
            rings[i] = new RingState(i);
        device.OnConnected(connection);
    }

    /// <summary>Feature bits that are offered.</summary>
    public ulong OfferedFeatures => device.Features | (ulong)TransportFeatures;

    private bool IsPacked => (features & VirtioFeatures.RingPacked) != 0;

    /// <summary>Carries out one message and answers it.</summary>
    /// <exception cref="FrontEndException">The front end broke the protocol.</exception>
    public void Handle(Message message)
    {
        switch (message.Type)
        {
            case FrontEndMessage.GetFeatures:
                Reply(message, OfferedFeatures);
                break;
            case FrontEndMessage.SetFeatures:
                SetFeatures(message.Number);
                break;
            case FrontEndMessage.GetProtocolFeatures:
                Reply(message, (ulong)ProtocolFeatures.All);
                break;
            case FrontEndMessage.SetProtocolFeatures:
                SetProtocolFeatures(message.Number);
                break;
            case FrontEndMessage.SetOwner:
            case FrontEndMessage.ResetOwner:
                // The connection is the ownership; resetting it is deprecated and ignored, as the protocol recommends.
                break;
            case FrontEndMessage.GetQueueCount:
                Reply(message, (ulong)device.QueuesMax);
                break;
            case FrontEndMessage.GetConfig:
                GetConfig(message);
                break;
            case FrontEndMessage.SetConfig:
                SetConfig(message);
                return;
            case FrontEndMessage.SetBackEndSocket:
                SetBackEndSocket(message.TakeDescriptor());
                break;
            case FrontEndMessage.GetStatus:
                Reply(message, status);
                break;
            case FrontEndMessage.SetStatus:
                SetStatus(message.Number);
                break;
            case FrontEndMessage.ResetDevice:
                ResetDevice();
                break;
            default:
                if (!HandleMemory(message))
                    HandleRing(message);
                break;
        }

        // This thread reads shared memory as well, where it starts rings.
        if (MemoryFaults.Count != faultsSeen)
        {
            faultsSeen = MemoryFaults.Count;
            CheckMemory();
        }

        if (message.Rule.Reply == ReplyRule.OnRequest)
            Acknowledge(message, isDone: true);
    }

    public ProtocolFeatures Negotiated => protocolFeatures;

    /// <summary>Looks whether the front end still has the memory that it shared.</summary>
    /// <exception cref="FrontEndException">It took some of it away.</exception>
    public void CheckMemory()
    {
        foreach (var region in memory.Regions)
            Check(region.File, "the guest's memory");
        Check(dirtyLog, "the dirty log");
        Check(inflight, "the inflight region");
    }

    /// <summary>Ends the session: waits for what is under way, and lets everything of the front end's go.</summary>
    public async ValueTask EndAsync()
    {
        foreach (var ring in rings)
            ring.Worker?.BeginDrain();
        foreach (var ring in rings)
        {
            if (ring.Worker is not { } worker)
                continue;
            worker.WaitPaused();
            connection.SetWorker(ring.Index, null);
        }

        await device.OnDisconnectedAsync();
        foreach (var ring in rings)
            ring.Worker?.End();
        lock (backEndGate)
        {
            backEndSocket?.Dispose();
            backEndSocket = null;
        }

        device.Keep(0);
        ReleaseMemory();
        socket.Dispose();
    }

    private static void Check(MappedFile? file, string what)
    {
        if (file is { IsWhole: false })
            throw new FrontEndException($"the file behind {what} was made shorter while it was in use");
        if (file is { HasFaulted: true })
            throw new FrontEndException($"{what} could not be had: no page is free for it, or it is broken");
    }

    /// <summary>
    /// Whether something shared was lost, so that nothing may be acknowledged any more; for the queues' threads, while which run none of it
    /// changes.
    /// </summary>
    private bool HasLostMemory()
    {
        foreach (var region in memory.Regions)
        {
            if (region.File.HasFaulted)
                return true;
        }

        return dirtyLog is { HasFaulted: true } || inflight is { HasFaulted: true };
    }

    private void SetFeatures(ulong wanted)
    {
        if ((wanted & ~OfferedFeatures) != 0)
            throw new FrontEndException($"feature bits {wanted & ~OfferedFeatures:x} were not offered");
        var changed = (VirtioFeatures)wanted ^ features;
        var isRunning = Array.Exists(rings, static ring => ring.IsStarted);
        if (isRunning && (changed & ~(VirtioFeatures.LogAll | VirtioFeatures.ProtocolFeatures)) != 0)
            throw new FrontEndException("features other than logging cannot change while rings run");
        features = (VirtioFeatures)wanted;
        hasSetFeatures = true;
        device.OnFeatures(wanted);
        if (isRunning)
            Rebuild(static () => { });
    }

    private void SetProtocolFeatures(ulong wanted)
    {
        var unknown = wanted & ~(ulong)ProtocolFeatures.All;
        if (unknown != 0)
            throw new FrontEndException($"protocol feature bits {unknown:x} were not offered");
        protocolFeatures = (ProtocolFeatures)wanted;
    }

    private void GetConfig(Message message)
    {
        var offset = message.UInt32(0);
        var size = message.UInt32(4);
        if (size != message.PayloadBytes - MessageRule.ConfigHeaderBytes || offset > MessageRule.ConfigBytesMax || size > MessageRule.ConfigBytesMax - offset)
        {
            // An empty payload is the protocol's word for an error here.
            Send(message.Type, []);
            return;
        }

        Span<byte> config = stackalloc byte[MessageRule.ConfigBytesMax];
        config.Clear();
        device.ReadConfig(config);
        config.Slice((int)offset, (int)size).CopyTo(message.Payload[MessageRule.ConfigHeaderBytes..]);
        Send(message.Type, message.Payload);
    }

    private void SetConfig(Message message)
    {
        var offset = message.UInt32(0);
        var size = message.UInt32(4);
        var isInside = size == message.PayloadBytes - MessageRule.ConfigHeaderBytes && offset <= MessageRule.ConfigBytesMax &&
            size <= MessageRule.ConfigBytesMax - offset;
        Acknowledge(message, isInside && device.TryWriteConfig((int)offset, message.Payload[MessageRule.ConfigHeaderBytes..]));
    }

    private void SetBackEndSocket(SafeFileHandle taken)
    {
        lock (backEndGate)
        {
            backEndSocket?.Dispose();
            backEndSocket = taken;
            if (isConfigChangeDue)
                SendConfigChange();
            isConfigChangeDue = false;
        }
    }

    private void SetStatus(ulong wanted)
    {
        if (wanted > byte.MaxValue)
            throw new FrontEndException($"device status {wanted:x} has more than eight bits");
        status = (byte)wanted;
        if (status == 0)
            StopRings();
    }

    private void ResetDevice()
    {
        StopRings();
        status = 0;
        Wait(device.OnResetAsync());
    }

    /// <summary>The server's thread has nothing else to do meanwhile: it is this session's alone.</summary>
    private static void Wait(ValueTask task)
    {
        if (!task.IsCompleted)
            task.AsTask().Wait();
        task.GetAwaiter().GetResult();
    }

    private void OnConfigChanged()
    {
        lock (backEndGate)
        {
            if (backEndSocket is null)
                isConfigChangeDue = true;
            else
                SendConfigChange();
        }
    }

    private void SendConfigChange()
    {
        Span<byte> header = stackalloc byte[MessageRule.HeaderBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(header, (uint)BackEndMessage.ConfigChanged);
        BinaryPrimitives.WriteUInt32LittleEndian(header[4..], MessageRule.Version);
        BinaryPrimitives.WriteUInt32LittleEndian(header[8..], 0);
        if (!LinuxCall.TrySend(backEndSocket!, header, [], timeoutMilliseconds: 0))
            log("the front end was not told of a change of the device's configuration: its socket takes nothing");
    }

    private void Reply(Message message, ulong number)
    {
        Span<byte> payload = stackalloc byte[MessageRule.NumberBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(payload, number);
        Send(message.Type, payload);
    }

    private void Acknowledge(Message message, bool isDone)
    {
        if (message.NeedsReply && (protocolFeatures & ProtocolFeatures.ReplyAck) != 0)
            Reply(message, isDone ? 0UL : 1UL);
        else if (!isDone)
            log($"{message.Type} of {message.PayloadBytes} bytes refused: what it changes is read-only");
    }

    private void Send(FrontEndMessage type, ReadOnlySpan<byte> payload, params ReadOnlySpan<SafeFileHandle> descriptors)
    {
        Span<byte> bytes = stackalloc byte[MessageRule.HeaderBytes + MessageRule.PayloadBytesLimit];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, (uint)type);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], MessageRule.Version | MessageRule.ReplyFlag);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[8..], (uint)payload.Length);
        payload.CopyTo(bytes[MessageRule.HeaderBytes..]);
        if (!LinuxCall.TrySend(socket.SafeHandle, bytes[..(MessageRule.HeaderBytes + payload.Length)], descriptors, SendTimeoutMilliseconds))
            throw new FrontEndException("the front end takes no answer");
    }
}
