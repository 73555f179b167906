using System.Diagnostics;
using System.Globalization;
using System.Net;
using CowScsi.Iscsi;
using CowScsi.Scsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Logins and PDUs from a grammar against a live server, over real sockets, several connections a session: a bounded number of them, or,
/// with COWSCSI_SOAK_SECONDS, for a share of that time with a fresh seed. The server stays alive and tells of no internal error, all it
/// sends is well formed, a bystander on the same thread has its I/O and its data, and in the end nothing of it all is held. The heap is
/// the whole process's, so no other test may run meanwhile.
/// </summary>
[Collection(nameof(IscsiPduFuzzTests))]
[CollectionDefinition(nameof(IscsiPduFuzzTests), DisableParallelization = true)]
public sealed class IscsiPduFuzzTests(ITestOutputHelper output)
{
    private const int PdusInAll = 40_000;

    /// <summary>Shares of a soak; counted in <see cref="FuzzTests.SoakShares"/>.</summary>
    private const int SoakShares = 4;
    private const int PdusPerScenarioMax = 120;
    private const int DiskBytes = 1024 * 1024;
    private const long HeapGrowthBytesMax = 48L * 1024 * 1024;
    private const string TargetName = "iqn.2026-01.test.fuzz:target";
    private const string GuardedName = "iqn.2026-01.test.fuzz:guarded";
    private const string BystanderName = "iqn.2026-01.test.fuzz:bystander-disk";

    /// <summary>Nothing of a server that has served its last hostile peer is left after this time.</summary>
    private static readonly TimeSpan QuietLimit = TimeSpan.FromSeconds(30);

    private static readonly IscsiPortalOptions Options = new()
    {
        Portals = [new IPEndPoint(IPAddress.Loopback, 0)],
        // One thread for all, so that whoever holds it up holds up the bystander.
        LoopCount = 1,
        LoginsMax = 16,
        SessionsMax = 32,
        DiscoverySessionsMax = 4,
        PendingDataBytesMax = 64 * 1024 * 1024,
        LoginTimeout = TimeSpan.FromSeconds(2),
        PeerTimeout = TimeSpan.FromSeconds(5),
        ShutdownTimeout = TimeSpan.FromMilliseconds(100),
    };

    private readonly Queue<string> faults = new();

    [Fact]
    public async Task Pdus_FromTheGrammarHarmNobody()
    {
        var seed = FuzzTests.Seed;
        var disk = new FuzzDisk(DiskBytes);
        await using var server = StartServer(disk);
        using var bystander = new Bystander(server.Portals[0], BystanderName, DiskBytes, seed);
        var clock = Stopwatch.StartNew();
        var soak = FuzzTests.SoakSeconds * SoakShares / FuzzTests.SoakShares;
        var (pdus, answers, logins) = (0L, 0L, 0L);
        var heapBytes = 0L;
        var scenario = 0;
        for (; soak is null ? pdus < PdusInAll : clock.Elapsed.TotalSeconds < soak; scenario++)
        {
            try
            {
                var run = new Scenario(new Random(unchecked((seed * 1_000_003) + scenario)), server.Portals[0]);
                run.Run();
                (pdus, answers, logins) = (pdus + run.Sent, answers + run.Answers, logins + run.Logins);
                bystander.Check();
                CheckFaults();
            }
            catch (Exception defect) when (defect is not Xunit.Sdk.XunitException)
            {
                throw new Xunit.Sdk.XunitException($"seed {seed}, scenario {scenario}: {defect.Message}", defect);
            }

            // What is warm by now stays; what grows from here on is a leak.
            if (scenario == 100)
                heapBytes = GC.GetTotalMemory(forceFullCollection: true);
        }

        await QuietAsync(server);
        await bystander.StopAsync();
        CheckFaults();
        Assert.True(disk.Bytes.AsSpan().SequenceEqual(bystander.Expected), $"seed {seed}: the bystander's disk holds something else");
        Assert.InRange(GC.GetTotalMemory(forceFullCollection: true) - heapBytes, long.MinValue, HeapGrowthBytesMax);
        output.WriteLine(string.Create(
            CultureInfo.InvariantCulture,
            $"{pdus} PDUs in {scenario} scenarios, {logins} logins, {answers} answers, {bystander.Rounds} rounds of the bystander in {clock.Elapsed.TotalSeconds:F1} s, seed {seed}"));
    }

    private IscsiTargetServer StartServer(FuzzDisk bystandersDisk)
    {
        var server = new IscsiTargetServer(new IscsiPortalOptions
        {
            Portals = Options.Portals,
            LoopCount = Options.LoopCount,
            LoginsMax = Options.LoginsMax,
            SessionsMax = Options.SessionsMax,
            DiscoverySessionsMax = Options.DiscoverySessionsMax,
            PendingDataBytesMax = Options.PendingDataBytesMax,
            LoginTimeout = Options.LoginTimeout,
            PeerTimeout = Options.PeerTimeout,
            ShutdownTimeout = Options.ShutdownTimeout,
            Log = NoteFault,
        });
        server.AddTarget(TargetName, Target(TargetName, new FuzzDisk(DiskBytes)));
        server.AddTarget(GuardedName, Target(GuardedName, new FuzzDisk(DiskBytes)), new IscsiAccess { Users = [new IscsiChapUser("alice", "alices-secret")] });
        server.AddTarget(BystanderName, Target(BystanderName, bystandersDisk));
        server.Start();
        return server;
    }

    private static ScsiTarget Target(string name, FuzzDisk disk)
    {
        var target = new ScsiTarget(name + ",t,0x0001");
        target.TryAddLun(0, new LogicalUnit(disk, LogicalUnitIdentity.FromDisk(Guid.NewGuid(), "fuzz"), new LogicalUnitOptions()));
        return target;
    }

    private void NoteFault(string line)
    {
        if (!line.Contains("internal error", StringComparison.Ordinal) && !line.Contains("command failed", StringComparison.Ordinal))
            return;
        lock (faults)
            faults.Enqueue(line);
    }

    private void CheckFaults()
    {
        lock (faults)
        {
            if (faults.TryPeek(out var line))
                throw new FuzzDefect(line);
        }
    }

    /// <summary>Hostile sessions end with their connections; then no buffer is held but the bystander's.</summary>
    private static async Task QuietAsync(IscsiTargetServer server)
    {
        const long bystanderBytesMax = 512 * 1024;
        var limit = Stopwatch.StartNew();
        while (server.SessionCount > 1 || server.BufferBytes > bystanderBytesMax)
        {
            Assert.True(limit.Elapsed < QuietLimit, $"{server.SessionCount} sessions and {server.BufferBytes} bytes are held for ever");
            await Task.Delay(20);
        }
    }

    /// <summary>One hostile session of one or more connections, from its logins to its end.</summary>
    private sealed class Scenario(Random random, IPEndPoint portal)
    {
        private const int CatchUpTriesMax = 10;
        private const int CatchUpMicroseconds = 2000;

        private readonly PduGrammar pdus = new(random);
        private readonly LoginGrammar logins = new(random, TargetName, GuardedName);

        public long Sent { get; private set; }

        public long Answers { get; private set; }

        public long Logins { get; private set; }

        public void Run()
        {
            var session = new HostileSession((byte)random.Next(4));
            List<HostileConnection> connections = [];
            try
            {
                for (var count = random.Next(3) == 0 ? random.Next(2, 5) : 1; count > 0; count--)
                {
                    connections.Add(new HostileConnection(portal, session, (ushort)random.Next(6)));
                    if (random.Next(6) == 0)
                        logins.Disturb(connections[^1]);
                    else
                        logins.LogIn(connections[^1]);
                    Sent++;
                }

                Exchange(connections);
            }
            finally
            {
                foreach (var connection in connections)
                {
                    Answers += connection.Answers;
                    Logins += connection.IsLoggedIn ? 1 : 0;
                    if (random.Next(2) == 0)
                        connection.Abort();
                    connection.Dispose();
                }
            }
        }

        private void Exchange(List<HostileConnection> connections)
        {
            for (var left = random.Next(PdusPerScenarioMax); left > 0; left--)
            {
                var connection = connections[random.Next(connections.Count)];
                // Now and then the answers are waited for, so that there are R2Ts to answer; a reader that never reads comes too.
                if (random.Next(24) == 0)
                    CatchUp(connection);
                else if (random.Next(3) > 0)
                    connection.Receive(random.Next(8) == 0 ? 500 : 0);
                if (connection.IsEnded)
                    continue;
                var wire = pdus.Draw(connection);
                if (random.Next(12) == 0)
                {
                    var cut = random.Next(wire.Length);
                    connection.Send(wire.AsSpan(0, cut));
                    connection.Receive(0);
                    connection.Send(wire.AsSpan(cut));
                }
                else
                {
                    connection.Send(wire);
                }

                Sent++;
            }

            foreach (var connection in connections)
            {
                if (random.Next(4) > 0)
                    CatchUp(connection);
            }
        }

        /// <summary>
        /// Waits until the target has handled what it was sent, or shows no sign of it: it may wait for the rest of a PDU, or be gone.
        /// </summary>
        private void CatchUp(HostileConnection connection)
        {
            connection.Send(pdus.Mark(connection));
            for (var tries = 0; tries < CatchUpTriesMax && !connection.IsEnded && !connection.IsMarked; tries++)
                connection.Receive(CatchUpMicroseconds);
        }
    }
}
