using System.Globalization;
using System.Net;
using CowScsi.Engine;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Iscsi;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>A store in a directory of its own, and command lines against it: alone, or with a server that has it open.</summary>
internal sealed class CliStore : IAsyncDisposable
{
    private readonly TemporaryDirectory directory = new();
    private VdiskServer? server;

    private CliStore()
    {
    }

    public string Directory => directory.File("store");

    public CliRun Cli { get; } = new();

    public TemporaryDirectory Files => directory;

    /// <summary>What the server told its operator.</summary>
    public List<string> Notices { get; } = [];

    public VdiskServer Server => server ?? throw new InvalidOperationException("no server runs");

    public static async Task<CliStore> CreateAsync(bool isServed = false)
    {
        var store = new CliStore();
        store.Cli.With("VDISK_STORE", store.Directory);
        await store.Cli.DoAsync("init");
        if (isServed)
            await store.ServeAsync();
        return store;
    }

    public async Task ServeAsync(string? passphrase = null, params string[] names)
    {
        Assert.True(Portal.TryParse("127.0.0.1:0", out var portal, out _));
        server = await VdiskServer.StartAsync(
            new ServeRequest(Directory, names, [portal], StoreOptions.Default.MapMemoryBytes, new LogicalUnitOptions()),
            disk => passphrase is null
                ? throw new CommandException(ExitCode.Key, $"'{disk}' needs a passphrase")
                : new(Passphrase.FromBytes(System.Text.Encoding.UTF8.GetBytes(passphrase))),
            line =>
            {
                lock (Notices)
                    Notices.Add(line);
            },
            CancellationToken.None);
    }

    /// <summary>Logs in to the disk at an address as it is printed.</summary>
    public static TestInitiator Connect(string url)
    {
        var address = new Uri(url);
        var initiator = new TestInitiator(new IPEndPoint(IPAddress.Parse(address.Host), address.Port))
        {
            Lun = byte.Parse(address.Segments[2], CultureInfo.InvariantCulture),
        };
        initiator.LoginAs("InitiatorName=" + TestInitiator.Name, "TargetName=" + address.Segments[1].TrimEnd('/'));
        return initiator;
    }

    public async Task StopServerAsync()
    {
        await Server.DisposeAsync();
        server = null;
    }

    /// <summary>Bytes that compress a little, with holes, of a size that is a multiple of nothing.</summary>
    public static byte[] Image(int seed, int length)
    {
        var bytes = new byte[length];
        var random = new Random(seed);
        for (var offset = 0; offset < length; offset += 4096)
        {
            if (random.Next(3) != 0)
                random.NextBytes(bytes.AsSpan(offset, Math.Min(random.Next(1, 4096), length - offset)));
        }

        return bytes;
    }

    public async ValueTask DisposeAsync()
    {
        if (server is not null)
            await server.DisposeAsync();
        directory.Dispose();
    }
}
