using CowScsi.Scsi;
using CowScsi.VhostUser;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>The ends of what is offered: queues, targets, logical units, features; and what a guest costs that does nothing, or is gone.</summary>
public sealed class LimitTests
{
    private const int QueueSize = 8;

    [Fact]
    public async Task SixtyFourRequestQueues_EachCarryACommand_ToTheLastLunOfTheLastTarget()
    {
        using var folder = new Cli.TemporaryDirectory();
        var target = new ScsiTarget("target,t,0x0001");
        target.TryAddLun(16383, TestBackEnd.Unit(new TestDisk(1 << 20), 1));
        using var device = new VirtioScsiDevice("guest");
        device.AddTarget(255, target);
        await using var server = VhostUserServer.Listen(folder.File("s"), device, static _ => { });
        using var ram = new GuestRam(4 << 20);
        using var frontEnd = new TestFrontEnd(folder.File("s"));
        frontEnd.Negotiate(new FrontEndOptions(), ram);
        var queues = new List<TestQueue>();
        var place = GuestRam.GuestBase;
        for (var i = 0u; i < 66; i++)
        {
            var driver = new SplitDriver(ram, place, QueueSize, hasEventIndex: true);
            place = driver.End;
            queues.Add(new TestQueue(frontEnd, i, driver));
        }

        foreach (var queue in queues.Skip(2))
        {
            var header = ram.At(place, ScsiGuest.HeaderBytes);
            header.Clear();
            ScsiGuest.Lun(255, 16383).CopyTo(header);
            header[19] = 0x12; // INQUIRY
            header[23] = 36;
            queue.Wait(queue.Submit(new Piece(place, ScsiGuest.HeaderBytes, false), new Piece(place + 64, ScsiGuest.ResponseBytes, true), new Piece(place + 256, 36, true)));
            Assert.Equal((0, 0), (ram.At(place + 64 + 10, 1)[0], ram.At(place + 64 + 11, 1)[0]));
            Assert.Equal("COWSCSI ", System.Text.Encoding.ASCII.GetString(ram.At(place + 256 + 8, 8)));
            place += 512;
        }

        queues.ForEach(static queue => queue.Dispose());
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    public async Task DataInBothDirectionsAndT10Protection_AreNotOffered_AndRefused(int bit)
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var frontEnd = backEnd.Connect();
        var offered = frontEnd.AskNumber(1);
        Assert.Equal(0ul, offered & (1ul << bit));
        frontEnd.Send(2, TestFrontEnd.Number(offered | (1ul << bit)));
        Assert.True(frontEnd.IsClosed());
        Assert.Contains(backEnd.Lines, static line => line.Contains("were not offered", StringComparison.Ordinal));
    }

    [Fact]
    public async Task IdleGuest_CostsNoProcessorTime()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new HighQueues(backEnd);
        guest.Inquire();

        // It may look on for a moment after work; then its threads sleep, and are not scheduled at all.
        var clock = System.Diagnostics.Stopwatch.StartNew();
        while (true)
        {
            var before = Slices();
            await Task.Delay(200);
            if (Slices() == before)
                break;
            Assert.True(clock.Elapsed < TimeSpan.FromSeconds(20), "the queues of an idle guest go on working");
        }

        // proc(5), schedstat: the third number is how often the thread was given a processor.
        static long Slices() => HighQueues.Threads().Sum(static task => long.Parse(File.ReadAllText($"{task}/schedstat").Split(' ')[2], System.Globalization.CultureInfo.InvariantCulture));
    }

    [Fact]
    public async Task GuestThatIsKilled_LeavesNothingBehind()
    {
        await using var backEnd = TestBackEnd.Scsi();
        for (var round = 0; round < 3; round++)
        {
            using var guest = new HighQueues(backEnd);
            guest.Inquire();
            Assert.Equal(3, HighQueues.Threads().Count);

            // The kernel closes its sockets; nothing is said.
            guest.FrontEnd.Dispose();
            var clock = System.Diagnostics.Stopwatch.StartNew();
            while (backEnd.Server.IsConnected)
                Assert.True(clock.Elapsed < TimeSpan.FromSeconds(20), "the guest is not let go");
            Assert.Empty(HighQueues.Threads());
            Assert.Equal(1, MappingsOf(guest.Ram));
        }

        // The guest's own mapping is there, the back end's is not.
        static int MappingsOf(GuestRam ram)
        {
            var file = new FileInfo($"/proc/self/fd/{ram.File.DangerousGetHandle()}");
            return File.ReadLines("/proc/self/maps").Count(line => line.Contains(file.LinkTarget!, StringComparison.Ordinal) && line.Contains(Inode(ram), StringComparison.Ordinal));
        }

        static string Inode(GuestRam ram) =>
            File.ReadLines($"/proc/self/fdinfo/{ram.File.DangerousGetHandle()}").First(static line => line.StartsWith("ino:", StringComparison.Ordinal))[4..].Trim();
    }

    [Fact]
    public async Task DirtyLog_OfPackedRings_HasTheDescriptorsThatAnswersStandIn()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions { IsPacked = true, HasIndirect = false });
        const int logBytes = (int)((GuestRam.GuestBase + (8 << 20)) / 4096 / 8);
        using var log = new GuestRam(logBytes);
        Assert.Equal(0ul, guest.FrontEnd.AskNumber(6, [.. BitConverter.GetBytes((ulong)logBytes), .. new byte[8]], [log.File]));
        guest.FrontEnd.Do(2, TestFrontEnd.Number(guest.FrontEnd.Features | (1UL << 26)));
        guest.FrontEnd.Do(9, TestFrontEnd.RingAddress(0, guest.Queue.Driver, flags: 1, log: guest.Queue.Driver.DeviceArea));
        const ulong data = GuestRam.GuestBase + 0x20_0000;
        var status = guest.Allocate(1);
        guest.Queue.Wait(guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(data, 4096, true), new Piece(status, 1, true)));
        Assert.True(IsMarked(data), "what was read");
        Assert.True(IsMarked(status), "the status");
        Assert.True(IsMarked(guest.Queue.Driver.Descriptors), "the descriptor that says so");
        Assert.False(IsMarked(data + 4096), "nothing else");

        bool IsMarked(ulong address) => (log.At(GuestRam.GuestBase + (address / 4096 / 8), 1)[0] >> (int)(address / 4096 % 8) & 1) != 0;
    }

    /// <summary>A guest with three request queues that no other test's guest has, so that their threads are known by their names.</summary>
    private sealed class HighQueues : IDisposable
    {
        private const uint First = 50;
        private const int Count = 3;

        private readonly List<TestQueue> queues = [];
        private readonly ulong place;

        public HighQueues(TestBackEnd backEnd)
        {
            FrontEnd = backEnd.Connect();
            FrontEnd.Negotiate(new FrontEndOptions(), Ram);
            place = GuestRam.GuestBase;
            for (var i = First; i < First + Count; i++)
            {
                var driver = new SplitDriver(Ram, place, QueueSize, hasEventIndex: true);
                place = driver.End;
                queues.Add(new TestQueue(FrontEnd, i, driver));
            }
        }

        public TestFrontEnd FrontEnd { get; }

        public GuestRam Ram { get; } = new(1 << 20);

        public static List<string> Threads() => [.. Directory.EnumerateDirectories("/proc/self/task").Where(static task => Name(task).StartsWith($"vhost scsi {First / 10}", StringComparison.Ordinal))];

        public void Inquire()
        {
            var header = Ram.At(place, ScsiGuest.HeaderBytes);
            ScsiGuest.Lun(0, 0).CopyTo(header);
            header[19] = 0x12;
            header[23] = 36;
            foreach (var queue in queues)
                queue.Wait(queue.Submit(new Piece(place, ScsiGuest.HeaderBytes, false), new Piece(place + 64, ScsiGuest.ResponseBytes, true), new Piece(place + 256, 36, true)));
        }

        public void Dispose()
        {
            FrontEnd.Dispose();
            queues.ForEach(static queue => queue.Dispose());
            Ram.Dispose();
        }

        private static string Name(string task)
        {
            try
            {
                return File.ReadAllText($"{task}/comm");
            }
            catch (IOException)
            {
                return "";
            }
        }
    }
}
