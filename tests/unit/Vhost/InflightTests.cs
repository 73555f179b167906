using System.Runtime.CompilerServices;
using CowScsi.VhostUser.Rings;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>
/// A back end that dies at every single store to what outlives it, and the next one that takes over: for random traffic, and with a second
/// death during or after the first recovery.
/// </summary>
public sealed class InflightTests
{
    private const int StepsMax = 200;

    [ModuleInitializer]
    internal static void WatchCrashPoints() => AppContext.SetSwitch(CrashPoint.Switch, isEnabled: true);

    [Theory]
    [InlineData(false, 1)]
    [InlineData(false, 2)]
    [InlineData(false, 3)]
    [InlineData(true, 1)]
    [InlineData(true, 2)]
    [InlineData(true, 3)]
    public void DeathAtEveryStore_LosesNothing_AndRepeatsOnlyWhatWasUnderWay(bool isPacked, int seed)
    {
        var points = new Simulation(isPacked, seed, crashAt: [int.MaxValue]).Run();
        Assert.True(points > 200, $"only {points} points");
        for (var point = 1; point <= points; point++)
        {
            new Simulation(isPacked, seed, [point]).Run();
            new Simulation(isPacked, seed, [point, point + 1 + (point % 23)]).Run();
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void OrderlyStop_LeavesNothingToTakeUp(bool isPacked)
    {
        using var ram = new GuestRam(1 << 20);
        var inflight = InflightOf(ram);
        var (ring, driver) = RingTests.Pair(ram, isPacked, 8, inflight: inflight);
        driver.Submit([new Piece(GuestRam.GuestBase + 0x8_0000, 8, false)]);
        var request = new TestRequest();
        Assert.Equal(TakeResult.Taken, ring.TryTake(request));
        ring.PutUsed(request);
        ring.Publish();
        var stopped = ring.Base;
        ring.Retire();
        var next = RingTests.Attach(ram, driver, stopped, inflight: inflight);
        Assert.Equal(TakeResult.Empty, next.TryTakeReplayed(request));
        Assert.Equal(TakeResult.Empty, next.TryTake(request));
        Assert.Equal(stopped, next.Base);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void DamagedRegion_IsNeverFollowedOutside(bool isPacked)
    {
        for (var seed = 1; seed <= 500; seed++)
        {
            using var ram = new GuestRam(1 << 20);
            var inflight = InflightOf(ram);
            var (ring, driver) = RingTests.Pair(ram, isPacked, 8, inflight: inflight);
            for (var i = 0; i < 3; i++)
            {
                driver.Submit([new Piece(GuestRam.GuestBase + 0x8_0000, 8, false)]);
                ring.TryTake(new TestRequest());
            }

            var random = new Random(seed);
            var bytes = RegionBytes(ram);
            for (var i = 0; i < 20; i++)
                bytes[10 + random.Next(isPacked ? 280 : 130)] = (byte)random.Next(256);
            bytes[10] = 8;
            bytes[11] = 0;
            var next = RingTests.Attach(ram, driver, driver.InitialBase, inflight: inflight);
            for (var i = 0; i < 20; i++)
            {
                var request = new TestRequest();
                if (next.TryTakeReplayed(request) != TakeResult.Taken)
                    break;
                next.PutUsed(request);
                next.Publish();
            }

            for (var i = 0; i < 5 && next.Fault is null && next.TryTake(new TestRequest()) == TakeResult.Taken; i++)
                next.Publish();
        }
    }

    private static nint InflightOf(GuestRam ram) => ram.Address + 0x6_0000;

    private static Span<byte> RegionBytes(GuestRam ram) => ram.At(GuestRam.GuestBase + 0x6_0000, 4096);

    private sealed class BackEndDied : Exception;

    /// <summary>Random traffic of one driver, and back ends that die at given points, one after the other.</summary>
    private sealed class Simulation(bool isPacked, int seed, int[] crashAt)
    {
        private const int Size = 8;
        private const ulong DataArea = GuestRam.GuestBase + 0x8_0000;

        private readonly Random random = new(seed);
        private readonly GuestRam ram = new(1 << 20);
        private readonly Dictionary<ushort, int> submitted = [];
        private readonly List<int> executed = [];
        private readonly HashSet<int> answered = [];
        private readonly HashSet<int> mayRepeat = [];
        private readonly List<TestRequest> underWay = [];
        private readonly Dictionary<int, int> counts = [];
        private DriverQueue driver = null!;
        private Ring? ring;
        private int points;
        private int crashes;
        private int serial;
        private int freeDescriptors = Size;

        public int Run()
        {
            using (ram)
            {
                driver = isPacked ? new PackedDriver(ram, GuestRam.GuestBase, Size, true) : new SplitDriver(ram, GuestRam.GuestBase, Size, true);
                CrashPoint.Reached = OnPoint;
                try
                {
                    for (var step = 0; step < StepsMax; step++)
                        Survive(Step);
                    while (answered.Count < serial)
                        Survive(Finish);
                }
                finally
                {
                    CrashPoint.Reached = null;
                }

                Assert.Null(ring?.Fault);
                foreach (var repeated in executed.GroupBy(static one => one).Where(static group => group.Count() > 1))
                    Assert.Contains(repeated.Key, mayRepeat);
                Assert.Equal(serial, executed.Distinct().Count());
            }

            return points;
        }

        private void OnPoint()
        {
            if (++points == crashAt[Math.Min(crashes, crashAt.Length - 1)] && crashes < crashAt.Length)
            {
                crashes++;
                throw new BackEndDied();
            }
        }

        private void Survive(Action action)
        {
            try
            {
                ring ??= Start();
                action();
            }
            catch (BackEndDied)
            {
                // What the driver does not see as answered was under way, or is not taken yet: that may be done again.
                ring = null;
                underWay.Clear();
                TakeAnswers();
                mayRepeat.UnionWith(submitted.Values);
            }
        }

        /// <summary>A new back end; the front end's idea of where the ring stands is that of the start, as after a crash.</summary>
        private Ring Start()
        {
            var started = RingTests.Attach(ram, driver, driver.InitialBase, inflight: InflightOf(ram));
            var last = -1;
            while (true)
            {
                var request = new TestRequest();
                var result = started.TryTakeReplayed(request);
                if (result == TakeResult.Empty)
                    return started;
                Assert.Equal(TakeResult.Taken, result);
                var replayed = Execute(request);
                Assert.True(replayed > last, "replayed in the order in which they came");
                last = replayed;
            }
        }

        private void Step()
        {
            switch (random.Next(4))
            {
                case 0:
                    Submit();
                    break;
                case 1:
                    Take();
                    break;
                case 2 when underWay.Count > 0:
                    for (var batch = random.Next(1, underWay.Count + 1); batch > 0; batch--)
                        Put(random.Next(underWay.Count));
                    ring!.Publish();
                    break;
                default:
                    TakeAnswers();
                    break;
            }
        }

        private void Finish()
        {
            Take();
            while (underWay.Count > 0)
                Put(0);
            ring!.Publish();
            TakeAnswers();
        }

        private void Submit()
        {
            var count = random.Next(1, 4);
            if (count > freeDescriptors)
                return;
            freeDescriptors -= count;
            var at = DataArea + (ulong)(serial * 64);
            BitConverter.TryWriteBytes(ram.At(at, 8), (long)serial);
            var pieces = new Piece[count];
            for (var i = 0; i < count; i++)
                pieces[i] = new Piece(at + (8ul * (uint)i), 8, i > 0);
            counts.Add(serial, count);
            submitted.Add(driver.Submit(pieces), serial);
            serial++;
        }

        private void Take()
        {
            var request = new TestRequest();
            while (ring!.TryTake(request) == TakeResult.Taken)
            {
                Execute(request);
                request = new TestRequest();
            }
        }

        private int Execute(TestRequest request)
        {
            Span<byte> bytes = stackalloc byte[8];
            Assert.Equal(8, request.Readable.CopyTo(bytes));
            var which = (int)BitConverter.ToInt64(bytes);
            Assert.DoesNotContain(which, answered);
            executed.Add(which);
            underWay.Add(request);
            return which;
        }

        private void Put(int index)
        {
            var request = underWay[index];
            underWay.RemoveAt(index);
            ring!.PutUsed(request);
        }

        private void TakeAnswers()
        {
            while (driver.TryTakeUsed(out var id, out _))
            {
                Assert.True(submitted.Remove(id, out var which), "answered once");
                Assert.True(answered.Add(which));
                freeDescriptors += counts[which];
            }
        }
    }
}
