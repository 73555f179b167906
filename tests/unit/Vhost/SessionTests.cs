using CowScsi.VhostUser;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>What a front end does while rings run: logging, enabling, stopping, taking over after a death.</summary>
public sealed class SessionTests
{
    [Fact]
    public async Task DirtyLog_HasABitForEachPageThatWasWritten()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        const int logBytes = (int)((GuestRam.GuestBase + (8 << 20)) / 4096 / 8);
        using var log = new GuestRam(logBytes);
        using var changed = LinuxCall.CreateEvent();
        byte[] description = [.. BitConverter.GetBytes((ulong)logBytes), .. new byte[8]];
        Assert.Equal(0ul, guest.FrontEnd.AskNumber(6, description, [log.File]));
        guest.FrontEnd.Do(7, [], [changed]);
        guest.FrontEnd.Do(2, TestFrontEnd.Number(guest.FrontEnd.Features | (1UL << 26)));
        guest.FrontEnd.Do(9, TestFrontEnd.RingAddress(0, guest.Queue.Driver, flags: 1, log: guest.Queue.Driver.DeviceArea));

        const ulong data = GuestRam.GuestBase + 0x20_0000 + 4000;
        var status = guest.Allocate(1);
        guest.Queue.Wait(guest.Queue.Submit(guest.Header(0, 0).Piece, new Piece(data, 8192, true), new Piece(status, 1, true)));
        var bits = log.At(GuestRam.GuestBase, logBytes).ToArray();
        var marked = Enumerable.Range(0, logBytes * 8).Where(page => (bits[page / 8] >> (page % 8) & 1) != 0).Select(static page => (ulong)page * 4096);
        Assert.Equal(
            new[] { guest.Queue.Driver.DeviceArea, status & ~4095UL, data & ~4095UL, (data & ~4095UL) + 4096, (data & ~4095UL) + 8192 }.Order(),
            marked.Order());

        // Switched off, nothing more is marked.
        guest.FrontEnd.Do(2, TestFrontEnd.Number(guest.FrontEnd.Features));
        log.At(GuestRam.GuestBase, logBytes).Clear();
        Assert.Equal(BlkGuest.Ok, guest.Read(0, 4096, out _));
        Assert.Equal(-1, log.At(GuestRam.GuestBase, logBytes).IndexOfAnyExcept((byte)0));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task DisabledRing_TakesNothing_UntilItIsEnabled(bool isPacked)
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions { IsPacked = isPacked, HasIndirect = false });
        guest.FrontEnd.Do(18, TestFrontEnd.Pair(0, 0));
        var status = guest.Allocate(1);
        var id = guest.Queue.Submit(guest.Header(4, 0).Piece, new Piece(status, 1, true));
        LinuxCall.Signal(guest.Queue.Kick!);
        guest.FrontEnd.Do(18, TestFrontEnd.Pair(1, 0));
        Assert.Equal(0, backEnd.Disk.Flushes);
        guest.FrontEnd.Do(18, TestFrontEnd.Pair(0, 1));
        guest.Queue.Wait(id);
        Assert.Equal(1, backEnd.Disk.Flushes);
    }

    /// <summary>An interrupt that went to the descriptor before, behind the front end's last look at it, would be lost otherwise.</summary>
    [Fact]
    public async Task NewCallDescriptor_IsSignalledAtOnce()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        Assert.Equal(BlkGuest.Ok, guest.Do(4, 0));
        using var call = LinuxCall.CreateEvent();
        guest.FrontEnd.Do(13, TestFrontEnd.Number(0), [call]);
        Assert.True(IsSignalled(call));
    }

    /// <summary>A drained queue has nothing under way, however quickly it was held and let go on before.</summary>
    [Fact]
    public async Task Memory_IsTakenBackOnlyWhenNothingUsesIt()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        var (header, data, status) = (guest.Header(0, 0).Piece, guest.Allocate(4096), guest.Allocate(1));
        for (var round = 0; round < 300; round++)
        {
            backEnd.Disk.Hold();
            var id = guest.Queue.Submit(header, new Piece(data, 4096, true), new Piece(status, 1, true));
            await backEnd.Disk.NextHeld();
            var release = Task.Run(backEnd.Disk.Release);
            guest.FrontEnd.Send(18, TestFrontEnd.Pair(0, 1));
            guest.FrontEnd.Send(18, TestFrontEnd.Pair(0, 1));
            guest.FrontEnd.SetMemory(guest.Ram);
            Assert.True(guest.Queue.IsAnswered(id), $"round {round}");
            guest.Queue.Wait(id);
            await release;
        }
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task StoppedRing_GoesOnWhereItStopped(bool isPacked)
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd, new FrontEndOptions { IsPacked = isPacked, QueueSize = 8, HasIndirect = false });
        for (var round = 0; round < 5; round++)
        {
            for (var i = 0; i < 3; i++)
                Assert.Equal(BlkGuest.Ok, guest.Do(4, 0));
            var at = guest.FrontEnd.StopRing(0);
            guest.FrontEnd.SetRing(0, guest.Queue.Driver, guest.Queue.Kick, guest.Queue.Call, at);
        }

        Assert.Equal(15, backEnd.Disk.Flushes);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RingThatMovesToAnotherSocketOfTheDisk_GoesOnThere_AfterAllThatWasUnderWay(bool isPacked)
    {
        using var folder = new Cli.TemporaryDirectory();
        var disk = new TestDisk(1 << 20);
        using var device = new VirtioBlkDevice(disk, "one");
        using var other = new VirtioBlkDevice(disk, "one");
        await using var first = VhostUserServer.Listen(folder.File("a"), device, static _ => { });
        await using var second = VhostUserServer.Listen(folder.File("b"), other, static _ => { });
        var options = new FrontEndOptions { IsPacked = isPacked, HasIndirect = false };
        using var guest = new BlkGuest(new TestFrontEnd(folder.File("a")), options);

        // As a migration has it: the destination is connected, and the source's last request still under way.
        using var destination = new TestFrontEnd(folder.File("b"));
        destination.Negotiate(options, guest.Ram);
        disk.Hold();
        var data = guest.Allocate(512);
        guest.Ram.At(data, 512).Fill(0x77);
        var id = guest.Queue.Submit(guest.Header(1, 9).Piece, new Piece(data, 512, false), new Piece(guest.Allocate(1), 1, true));
        await disk.NextHeld();
        guest.FrontEnd.Send(11, TestFrontEnd.Pair(0, 0));
        Assert.False(guest.FrontEnd.Socket.Poll(50_000, System.Net.Sockets.SelectMode.SelectRead), "the ring stopped with a request under way");
        disk.Release();
        var at = BitConverter.ToUInt32(guest.FrontEnd.ReadAnswer(11), 4);
        Assert.True(guest.Queue.IsAnswered(id), "the ring stopped before its last answer");
        guest.Queue.Wait(id);
        destination.SetRing(0, guest.Queue.Driver, guest.Queue.Kick, guest.Queue.Call, at);
        for (var i = 0; i < 100; i++)
        {
            Assert.Equal(BlkGuest.Ok, guest.Read(9, 512, out var read));
            Assert.Equal(0x77, read[511]);
        }
    }

    [Fact]
    public async Task MemoryTable_MayBeReplaced_WhileRequestsRun()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        for (var i = 0; i < 20; i++)
        {
            Assert.Equal(BlkGuest.Ok, guest.Write((ulong)i, new byte[512]));
            guest.FrontEnd.SetMemory(guest.Ram);
        }

        Assert.Equal(509ul, guest.FrontEnd.AskNumber(36));
        guest.FrontEnd.Do(39, TestFrontEnd.Number(15));
        Assert.Equal(15ul, guest.FrontEnd.AskNumber(40));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task RequestsOfADeadBackEnd_AreCarriedOutByTheNext(bool isPacked)
    {
        await using var first = TestBackEnd.Blk();
        await using var second = TestBackEnd.Blk();
        var options = new FrontEndOptions { IsPacked = isPacked, HasIndirect = false };
        using var guest = new BlkGuest(first, options);

        // The ring is set up again with an inflight region, as QEMU has it from the start.
        var at = guest.FrontEnd.StopRing(0);
        var answer = guest.FrontEnd.Ask(31, [.. new byte[16], 1, 0, 64, 0]);
        using var region = guest.FrontEnd.Received[^1];
        guest.FrontEnd.Do(32, answer, [region]);
        guest.FrontEnd.SetRing(0, guest.Queue.Driver, guest.Queue.Kick, guest.Queue.Call, at);
        Assert.Equal(BlkGuest.Ok, guest.Do(4, 0));
        guest.FrontEnd.Do(25, [.. TestFrontEnd.Pair(32, 1), 0, 0, 0, 0, 0]);
        first.Disk.Hold();
        var ids = new List<ushort>();
        var status = guest.Allocate(16);
        for (var i = 0; i < 3; i++)
        {
            var data = guest.Allocate(512);
            guest.Ram.At(data, 512).Fill((byte)(i + 1));
            ids.Add(guest.Queue.Submit(guest.Header(1, (ulong)i).Piece, new Piece(data, 512, false), new Piece(status + (ulong)i, 1, true)));
            await first.Disk.NextHeld();
        }

        // A killed process answers nothing more; here the first one goes on, with a copy of the memory that nobody looks at.
        using var takenOver = new GuestRam(guest.Ram.LengthBytes);
        guest.Ram.At(GuestRam.GuestBase, guest.Ram.LengthBytes).CopyTo(takenOver.At(GuestRam.GuestBase, guest.Ram.LengthBytes));
        using var regionCopy = new GuestRam((int)BitConverter.ToUInt64(answer));
        using (var original = new GuestRam(regionCopy.LengthBytes, file: new Microsoft.Win32.SafeHandles.SafeFileHandle(region.DangerousGetHandle(), ownsHandle: false)))
            original.At(GuestRam.GuestBase, regionCopy.LengthBytes).CopyTo(regionCopy.At(GuestRam.GuestBase, regionCopy.LengthBytes));
        using var frontEnd = second.Connect();
        frontEnd.Negotiate(options, takenOver);
        frontEnd.Do(32, answer, [regionCopy.File]);
        frontEnd.SetRing(0, guest.Queue.Driver, guest.Queue.Kick, guest.Queue.Call, at);
        Assert.Equal(0ul, second.Disk.Writes.Count == 3 ? 0 : WaitForWrites(second.Disk, 3));
        for (var i = 0; i < 3; i++)
            Assert.Equal((byte)(i + 1), second.Disk.Bytes[i * 512]);

        // The driver chose write-through, which the second back end was not told: it was kept.
        Assert.All(second.Disk.Writes, static options => Assert.Equal(CowScsi.Layers.WriteOptions.ForceUnitAccess, options));
        first.Disk.Release();
    }

    private static ulong WaitForWrites(TestDisk disk, int count)
    {
        SpinWait.SpinUntil(() => disk.Writes.Count == count, TimeSpan.FromSeconds(10));
        return (ulong)(count - disk.Writes.Count);
    }

    private static unsafe bool IsSignalled(SafeFileHandle file)
    {
        var entry = new LinuxCall.PollEntry { Descriptor = (int)file.DangerousGetHandle(), Events = LinuxCall.PollIn };
        return LinuxCall.Poll(&entry, 1, 0) > 0;
    }
}
