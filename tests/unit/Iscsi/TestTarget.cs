using System.Collections.Concurrent;
using System.Net;
using CowScsi.Iscsi;
using CowScsi.Scsi;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>A real server on a free port of the loopback address, with one target and one disk at LUN 0.</summary>
internal sealed class TestTarget : IAsyncDisposable
{
    public const string Name = TestInitiator.TargetName;
    public const int DiskBytes = 4 * 1024 * 1024;

    public TestTarget(IscsiPortalOptions? options = null, IscsiAccess? access = null)
    {
        options ??= new IscsiPortalOptions();
        Server = new IscsiTargetServer(Bounded(options, Lines.Enqueue));
        var identity = LogicalUnitIdentity.FromDisk(new Guid(1, 2, 3, new byte[8]), "disk");
        Scsi.TryAddLun(0, new LogicalUnit(Disk, identity, new LogicalUnitOptions()));
        Server.AddTarget(Name, Scsi, access);
        Server.Start();
    }

    public RamDisk Disk { get; } = new(DiskBytes);

    public ScsiTarget Scsi { get; } = new($"{Name},t,0x0001");

    public IscsiTargetServer Server { get; }

    public ConcurrentQueue<string> Lines { get; } = new();

    public IPEndPoint Portal => Server.Portals[0];

    public TestInitiator Connect() => new(Portal);

    /// <summary>A logged-in initiator whose power-on unit attention is taken.</summary>
    public TestInitiator Login(params string[] keys)
    {
        var initiator = Connect();
        initiator.Login(keys);
        initiator.ClearUnitAttentions();
        return initiator;
    }

    /// <summary>Ends the server. A disk that still holds requests back gives them up, so that a test that failed shows why.</summary>
    public ValueTask DisposeAsync()
    {
        Disk.Release();
        return Server.DisposeAsync();
    }

    private static IscsiPortalOptions Bounded(IscsiPortalOptions options, Action<string> log) => new()
    {
        Portals = [new IPEndPoint(IPAddress.Loopback, 0)],
        LoopCount = 2,
        LoginsMax = options.LoginsMax,
        SessionsMax = options.SessionsMax,
        CommandWindow = options.CommandWindow,
        PendingDataBytesMax = options.PendingDataBytesMax,
        MaxRecvDataSegmentBytes = options.MaxRecvDataSegmentBytes,
        MaxBurstBytes = options.MaxBurstBytes,
        FirstBurstBytes = options.FirstBurstBytes,
        SessionsPerAddressMax = options.SessionsPerAddressMax,
        DiscoverySessionsMax = options.DiscoverySessionsMax,
        MaxConnections = options.MaxConnections,
        MaxOutstandingR2T = options.MaxOutstandingR2T,
        InitialR2T = options.InitialR2T,
        ImmediateData = options.ImmediateData,
        AllowDigests = options.AllowDigests,
        RequireDigests = options.RequireDigests,
        LoginTimeout = options.LoginTimeout,
        PingInterval = options.PingInterval,
        PeerTimeout = options.PeerTimeout,
        ShutdownTimeout = TimeSpan.FromMilliseconds(200),
        Log = log,
    };
}
