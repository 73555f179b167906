using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser;

/// <summary>What the front end said about one ring. Owned by the session's thread.</summary>
internal sealed class RingState(int index)
{
    /// <summary>The ring's size before anything is said of it.</summary>


    public int Index { get; } = index;

    public int Size { get; set; }

    /// <summary>Addresses are of the front end (vhost-user: "user addresses").</summary>
    public ulong DescriptorAddress { get; set; }

    public ulong DeviceAddress { get; set; }

    public ulong DriverAddress { get; set; }

    public bool HasAddresses { get; set; }

    /// <summary>Where the used ring is marked in the dirty log; null where it is not.</summary>
    public ulong? LogAddress { get; set; }

    public uint Base { get; set; }

    public bool IsEnabled { get; set; }

    public bool IsStarted { get; set; }

    public RingWorker? Worker { get; set; }
}
