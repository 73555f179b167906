using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser;

/// <summary>
/// A virtio device that a guest reaches through a <see cref="VhostUserServer"/>; one front end at a time. Each device belongs to one
/// server.
/// </summary>
public abstract class VirtioDevice
{
    private volatile DeviceConnection? connection;

    private protected VirtioDevice()
    {
    }

    /// <summary>What the device is, for log lines and thread names.</summary>
    internal abstract string Kind { get; }

    /// <summary>The device's own feature bits, without those of the transport.</summary>
    internal abstract ulong Features { get; }

    /// <summary>Queues that a front end may use at most.</summary>
    internal abstract int QueuesMax { get; }

    /// <summary>The front end that has the device; null while there is none.</summary>
    internal DeviceConnection? Connection => connection;

    /// <summary>The configuration space; what is longer than the device's own reads as zeros.</summary>
    internal abstract void ReadConfig(Span<byte> destination);

    /// <summary>Changes the configuration space, where the device allows that; false where it does not.</summary>
    internal abstract bool TryWriteConfig(int offset, ReadOnlySpan<byte> bytes);

    internal abstract DeviceQueue CreateQueue(int index);

    /// <summary>The features that the driver took.</summary>
    internal virtual void OnFeatures(ulong features)
    {
    }

    /// <summary>
    /// Memory of <see cref="InflightLayout.KeptBytes"/> that outlives this process, zeros at first: a device takes up what it kept there. 0
    /// where there is none any more.
    /// </summary>
    internal virtual void Keep(nint place)
    {
    }

    /// <summary>A front end connected: no request comes before the method returns.</summary>
    internal virtual void OnConnected(DeviceConnection begun) => connection = begun;

    /// <summary>The front end is gone and no request is under way.</summary>
    internal virtual ValueTask OnDisconnectedAsync()
    {
        connection = null;
        return default;
    }

    /// <summary>The front end reset the device; no request is under way.</summary>
    internal virtual ValueTask OnResetAsync() => default;
}
