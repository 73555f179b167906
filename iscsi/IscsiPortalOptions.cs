using System.Net;

namespace CowScsi.Iscsi;

/// <summary>How an <see cref="IscsiTargetServer"/> listens, what it negotiates, and the bounds it keeps. All have defaults.</summary>
public sealed class IscsiPortalOptions
{
    private static readonly int DefaultLoopCount = Math.Clamp(Environment.ProcessorCount, 1, 8);

    /// <summary>The registered port of iSCSI (RFC 7143, 14).</summary>
    public const int DefaultPort = 3260;

    /// <summary>
    /// Addresses to listen on from the start, IPv4 or IPv6; port 0 takes a free one, which <see cref="IscsiTargetServer.Portals"/>
    /// tells. They belong to the portal group <see cref="IscsiPortal.DefaultGroupTag"/>.
    /// </summary>
    public IReadOnlyList<IPEndPoint> Portals { get; init; } = [new(IPAddress.Loopback, DefaultPort)];

    /// <summary>Threads that serve connections; each owns its share of them. 1 to 64.</summary>
    public int LoopCount { get; init; } = DefaultLoopCount;

    /// <summary>
    /// Connections in their login phase. One more than this costs a place: that of the oldest from the address with the most of them, so
    /// silent peers lock nobody out.
    /// </summary>
    public int LoginsMax { get; init; } = 256;

    /// <summary>Sessions, discovery sessions included; further logins are told "out of resources".</summary>
    public int SessionsMax { get; init; } = 1024;

    /// <summary>Sessions from one network address, so that no single peer takes them all.</summary>
    public int SessionsPerAddressMax { get; init; } = 256;

    /// <summary>Discovery sessions. One more than this ends the oldest of them.</summary>
    public int DiscoverySessionsMax { get; init; } = 64;

    /// <summary>MaxConnections, the target's side of the negotiation: TCP connections of one session, 1 to 64.</summary>
    public int MaxConnections { get; init; } = 8;

    /// <summary>Commands a session may have outstanding (MaxCmdSN - ExpCmdSN + 1 at rest). 1 to 4096.</summary>
    public int CommandWindow { get; init; } = 128;

    /// <summary>
    /// Data buffers of all commands under way, in bytes, divided by <see cref="LoopCount"/>; beyond it commands end with TASK SET FULL. A
    /// single command's data is at most half of a thread's share, and 32 MiB.
    /// </summary>
    public long PendingDataBytesMax { get; init; } = DefaultLoopCount * 128L * 1024 * 1024;

    /// <summary>MaxRecvDataSegmentLength that is declared, 512 to 2^24 - 1 bytes.</summary>
    public int MaxRecvDataSegmentBytes { get; init; } = 256 * 1024;

    /// <summary>MaxBurstLength, the target's side of the negotiation, 512 to 2^24 - 1 bytes.</summary>
    public int MaxBurstBytes { get; init; } = 1024 * 1024;

    /// <summary>FirstBurstLength, the target's side of the negotiation, 512 bytes to <see cref="MaxBurstBytes"/>.</summary>
    public int FirstBurstBytes { get; init; } = 256 * 1024;

    /// <summary>MaxOutstandingR2T, the target's side of the negotiation, 1 to 16.</summary>
    public int MaxOutstandingR2T { get; init; } = 8;

    /// <summary>InitialR2T, the target's side: true refuses unsolicited Data-Out PDUs.</summary>
    public bool InitialR2T { get; init; }

    /// <summary>ImmediateData, the target's side.</summary>
    public bool ImmediateData { get; init; } = true;

    /// <summary>Takes CRC32C for header and data digests where the initiator prefers it.</summary>
    public bool AllowDigests { get; init; } = true;

    /// <summary>Refuses None for header and data digests.</summary>
    public bool RequireDigests { get; init; }

    /// <summary>From accepting a connection to the end of its login.</summary>
    public TimeSpan LoginTimeout { get; init; } = TimeSpan.FromSeconds(15);

    /// <summary>Silence after which an initiator is sent a NOP-In ping; zero for never.</summary>
    public TimeSpan PingInterval { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long an initiator may take to answer a ping, or to take any of its pending output, before it is cut off.</summary>
    public TimeSpan PeerTimeout { get; init; } = TimeSpan.FromSeconds(30);

    /// <summary>How long a shutdown waits for initiators to log out after they were asked to.</summary>
    public TimeSpan ShutdownTimeout { get; init; } = TimeSpan.FromSeconds(3);

    /// <summary>Takes one line for each connection that is refused or cut off. Called on the server's threads; returns at once.</summary>
    public Action<string>? Log { get; init; }

    internal void Validate()
    {
        const int segmentMin = 512;
        const int segmentMax = (1 << 24) - 1;
        ThrowIfOutside(LoopCount, 1, 64, nameof(LoopCount));
        ThrowIfOutside(LoginsMax, 1, 65536, nameof(LoginsMax));
        ThrowIfOutside(SessionsMax, 1, 65535, nameof(SessionsMax));
        ThrowIfOutside(SessionsPerAddressMax, 1, 65535, nameof(SessionsPerAddressMax));
        ThrowIfOutside(DiscoverySessionsMax, 1, 65535, nameof(DiscoverySessionsMax));
        ThrowIfOutside(MaxConnections, 1, 64, nameof(MaxConnections));
        ThrowIfOutside(CommandWindow, 1, 4096, nameof(CommandWindow));
        ThrowIfOutside(MaxRecvDataSegmentBytes, segmentMin, segmentMax, nameof(MaxRecvDataSegmentBytes));
        ThrowIfOutside(MaxBurstBytes, segmentMin, segmentMax, nameof(MaxBurstBytes));
        ThrowIfOutside(FirstBurstBytes, segmentMin, MaxBurstBytes, nameof(FirstBurstBytes));
        ThrowIfOutside(MaxOutstandingR2T, 1, 16, nameof(MaxOutstandingR2T));
    }

    private static void ThrowIfOutside(int value, int min, int max, string name)
    {
        if (value < min || value > max)
            throw new ArgumentOutOfRangeException(name, value, $"{name} is {min} to {max}");
    }
}
