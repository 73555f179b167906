using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>Guests and front ends that mean harm, over real sockets and threads: they hurt themselves, and the others go on.</summary>
public sealed partial class HostileGuestTests
{
    [Fact]
    public async Task BrokenRing_StandsStill_AndTheOperatorIsTold()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        using var error = LinuxCall.CreateEvent();
        guest.FrontEnd.Do(14, TestFrontEnd.Number(0), [error]);
        guest.Queue.Submit(new Piece(0x10, 16, false), new Piece(guest.Allocate(1), 1, true));
        WaitFor(error);
        Assert.Contains(backEnd.Lines, static line => line.Contains("outside the guest's memory", StringComparison.Ordinal));

        // Stopped and set up anew, as a driver does that resets its device, it works again.
        guest.FrontEnd.StopRing(0);
        var driver = new SplitDriver(guest.Ram, GuestRam.GuestBase + 0x10_0000, 64, hasEventIndex: true);
        guest.Ram.At(driver.Descriptors, (int)(driver.End - driver.Descriptors)).Clear();
        using var queue = new TestQueue(guest.FrontEnd, 0, driver);
        var status = guest.Allocate(1);
        Assert.Equal(1u, queue.Wait(queue.Submit(guest.Header(4, 0).Piece, new Piece(status, 1, true))));
    }

    [Fact]
    public async Task RequestWithoutRoomForItsStatus_BreaksTheRing()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        using var error = LinuxCall.CreateEvent();
        guest.FrontEnd.Do(14, TestFrontEnd.Number(0), [error]);
        guest.Queue.Submit(guest.Header(4, 0).Piece);
        WaitFor(error);
        Assert.Contains(backEnd.Lines, static line => line.Contains("no room", StringComparison.Ordinal));
    }

    [Fact]
    public async Task MemoryTakenAwayUnderARequest_WaitsForIt()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        using var extra = new GuestRam(1 << 20, 0x8000_0000, 0x5000_0000_0000);
        guest.FrontEnd.Do(37, [.. new byte[8], .. extra.Describe()], [extra.File]);
        backEnd.Disk.Bytes.AsSpan(0, 512).Fill(0x5A);
        backEnd.Disk.Hold();
        var status = guest.Allocate(1);
        var id = guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(0x8000_0000, 512, true), new Piece(status, 1, true));
        await backEnd.Disk.NextHeld();
        guest.FrontEnd.Send(38, [.. new byte[8], .. extra.Describe()], flags: 9);
        Assert.False(guest.FrontEnd.Socket.Poll(50_000, System.Net.Sockets.SelectMode.SelectRead), "unmapped under a request");
        backEnd.Disk.Release();
        Assert.Equal(0ul, BitConverter.ToUInt64(guest.FrontEnd.ReadAnswer(38)));
        Assert.Equal(513u, guest.Queue.Wait(id));
        Assert.Equal(0x5A, extra.At(0x8000_0000 + 511, 1)[0]);

        // The region is gone: who still points there breaks the ring, and nothing else.
        guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(0x8000_0000, 512, true), new Piece(status, 1, true));
        while (backEnd.Lines.IsEmpty)
            await Task.Yield();
        Assert.Contains("outside the guest's memory", backEnd.Lines.First(), StringComparison.Ordinal);
    }

    [Fact]
    public async Task FileMadeShorterUnderTheGuest_CutsThatFrontEndOff_AndNoOther()
    {
        Assert.True(MemoryFaults.IsGuarded || System.Runtime.InteropServices.RuntimeInformation.ProcessArchitecture != System.Runtime.InteropServices.Architecture.X64);
        await using var victim = TestBackEnd.Blk();
        await using var backEnd = TestBackEnd.Blk();
        using var innocent = new BlkGuest(victim);
        var path = Path.GetTempFileName();
        try
        {
            // An ordinary file: nothing forbids that it is made shorter.
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
            RandomAccess.SetLength(file, 1 << 20);
            using var guest = new BlkGuest(backEnd);
            guest.FrontEnd.Send(37, [.. new byte[8], .. Region(0x8000_0000, 1 << 20)], [file], flags: 9);
            if (!MemoryFaults.IsGuarded)
            {
                Assert.True(guest.FrontEnd.IsClosed());
                return;
            }

            Assert.Equal(0ul, BitConverter.ToUInt64(guest.FrontEnd.ReadAnswer(37)));
            RandomAccess.SetLength(file, 0);
            var status = guest.Allocate(1);
            guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(0x8000_0000, 8192, true), new Piece(status, 1, true));
            Assert.True(guest.FrontEnd.IsClosed());
            Assert.Contains(backEnd.Lines, static line => line.Contains("made shorter", StringComparison.Ordinal));
            using var next = new BlkGuest(backEnd);
            Assert.Equal(BlkGuest.Ok, next.Write(0, new byte[512]));
            Assert.Equal(BlkGuest.Ok, innocent.Write(0, new byte[512]));
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task MemoryTakenAwayInThousandsOfPieces_IsNotAcknowledged_AndCostsTheProcessNoMappings(bool isPacked)
    {
        const int bytes = 64 << 20;
        await using var backEnd = TestBackEnd.Blk();
        var path = Path.GetTempFileName();
        try
        {
            using var file = File.OpenHandle(path, FileMode.Create, FileAccess.ReadWrite);
            RandomAccess.SetLength(file, bytes);
            using var guest = new BlkGuest(backEnd, new FrontEndOptions { IsPacked = isPacked, QueueSize = 1024, HasIndirect = false });
            guest.FrontEnd.Send(37, [.. new byte[8], .. Region(0x8000_0000, bytes)], [file], flags: 9);
            if (!MemoryFaults.IsGuarded)
                return;
            Assert.Equal(0ul, BitConverter.ToUInt64(guest.FrontEnd.ReadAnswer(37)));
            Assert.Equal(BlkGuest.Ok, guest.Write(0, new byte[512]));
            var mappings = File.ReadAllLines("/proc/self/maps").Length;
            RandomAccess.SetLength(file, 0);

            // A write from every other page: a piece of memory in the place of each could not be joined with the next.
            List<Piece> pieces = [guest.Header(1, 0).Piece];
            for (var i = 0; i < 1000; i++)
                pieces.Add(new Piece(0x8000_0000 + ((ulong)i * 8192), 512, IsWritable: false));
            var status = guest.Allocate(1);
            guest.Ram.At(status, 1)[0] = 0xEE;
            pieces.Add(new Piece(status, 1, true));
            var id = guest.Queue.Submit(pieces.ToArray());
            Assert.True(guest.FrontEnd.IsClosed());
            Assert.False(guest.Queue.IsAnswered(id), "a write of nobody's memory was acknowledged");
            Assert.InRange(File.ReadAllLines("/proc/self/maps").Length - mappings, int.MinValue, 200);
        }
        finally
        {
            File.Delete(path);
        }
    }

    [Fact]
    public async Task HugePagesThatAreNotThere_CutThatFrontEndOff_AlthoughItsFileIsWholeAndSealed()
    {
        const int bytes = 4 << 20;
        using var file = CreateHugeMemory(bytes);
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        guest.FrontEnd.Send(37, [.. new byte[8], .. Region(0x8000_0000, bytes)], [file], flags: 9);
        if (!MemoryFaults.IsGuarded || HasFreeHugePages())
            return;
        Assert.Equal(0ul, BitConverter.ToUInt64(guest.FrontEnd.ReadAnswer(37)));
        var status = guest.Allocate(1);
        var id = guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(0x8000_0000, 8192, true), new Piece(status, 1, true));
        Assert.True(guest.FrontEnd.IsClosed());
        Assert.False(guest.Queue.IsAnswered(id), "a read into nobody's memory was acknowledged");
        Assert.Contains(backEnd.Lines, static line => line.Contains("could not be had", StringComparison.Ordinal));
        using var next = new BlkGuest(backEnd);
        Assert.Equal(BlkGuest.Ok, next.Write(0, new byte[512]));
    }

    [Fact]
    public async Task RandomMessages_EndInOneLine_AndTheServerGoesOn()
    {
        await using var backEnd = TestBackEnd.Scsi();
        for (var seed = 1; seed <= 300; seed++)
        {
            var random = new Random(seed);
            using var frontEnd = backEnd.Connect();
            using var ram = new GuestRam(1 << 20);
            frontEnd.Send(16, TestFrontEnd.Number(TestFrontEnd.AllProtocolFeatures));
            frontEnd.Send(2, TestFrontEnd.Number(random.Next(2) == 0 ? 1UL << 32 : (1UL << 32) | (1UL << 34) | (1UL << 30)));
            frontEnd.Send(5, [1, 0, 0, 0, 0, 0, 0, 0, .. ram.Describe()], [ram.File]);
            for (var i = 0; i < 20; i++)
            {
                var type = (uint)random.Next(1, 42);
                var rule = CowScsi.VhostUser.Messages.MessageRule.Find(type);
                var payload = new byte[rule is null || random.Next(20) == 0 ? random.Next(64) : random.Next(rule.PayloadBytesMin, rule.PayloadBytesMax + 1)];
                Fill(random, payload, ram);
                var count = rule is null ? random.Next(3) : random.Next(rule.DescriptorsMin, rule.DescriptorsMax + 1);
                var files = new SafeFileHandle[count];
                for (var f = 0; f < count; f++)
                    files[f] = random.Next(2) == 0 ? LinuxCall.CreateEvent() : LinuxCall.CreateMemory("fuzz", 1 << 16);
                frontEnd.Send(type, payload, files, flags: random.Next(2) == 0 ? 1u : 9u);
                foreach (var file in files)
                    file.Dispose();
            }
        }

        using var guest = new ScsiGuest(backEnd);
        guest.ClearAttentions(ScsiGuest.Lun(0, 0));
    }

    private static void Fill(Random random, byte[] payload, GuestRam ram)
    {
        random.NextBytes(payload);
        for (var at = 0; at + 8 <= payload.Length; at += 8)
        {
            // Small numbers, and addresses that are the guest's, get further than noise.
            var value = random.Next(4) switch
            {
                0 => (ulong)random.Next(4),
                1 => ram.UserAddress + (ulong)(random.Next(256) * 4096),
                2 => (uint)random.Next(4) + (1UL << (32 + random.Next(12))),
                _ => BitConverter.ToUInt64(payload, at),
            };
            BitConverter.TryWriteBytes(payload.AsSpan(at), value);
        }
    }

    private static bool HasFreeHugePages() =>
        File.ReadLines("/proc/meminfo").Any(static line => line.StartsWith("HugePages_Free:", StringComparison.Ordinal) && !line.EndsWith(" 0", StringComparison.Ordinal));

    /// <summary>A memfd of huge pages, of which none are set aside for it.</summary>
    private static SafeFileHandle CreateHugeMemory(int lengthBytes)
    {
        const uint allowSealingAndHugePages = 6;
        var handle = new SafeFileHandle(memfd_create("huge", allowSealingAndHugePages), ownsHandle: true);
        Assert.False(handle.IsInvalid, "no memfd of huge pages");
        Assert.Equal(0, ftruncate(handle, lengthBytes));
        return handle;
    }

    [System.Runtime.InteropServices.LibraryImport("libc", StringMarshalling = System.Runtime.InteropServices.StringMarshalling.Utf8)]
    private static partial nint memfd_create(string name, uint flags);

    [System.Runtime.InteropServices.LibraryImport("libc")]
    private static partial int ftruncate(SafeFileHandle file, long lengthBytes);

    private static byte[] Region(ulong guestAddress, int lengthBytes)
    {
        var bytes = new byte[32];
        BitConverter.TryWriteBytes(bytes, guestAddress);
        BitConverter.TryWriteBytes(bytes.AsSpan(8), (ulong)lengthBytes);
        BitConverter.TryWriteBytes(bytes.AsSpan(16), 0x5000_0000_0000UL);
        return bytes;
    }

    private static unsafe void WaitFor(SafeFileHandle error)
    {
        var entry = new LinuxCall.PollEntry { Descriptor = (int)error.DangerousGetHandle(), Events = LinuxCall.PollIn };
        Assert.Equal(1, LinuxCall.Poll(&entry, 1, 10_000_000_000));
    }
}
