using CowScsi.VhostUser.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>The SCSI host device: commands, task management, events.</summary>
public sealed class ScsiTests
{
    private const byte Aborted = 2;
    private const byte BadTarget = 3;
    private const byte Reset = 5 - 1;

    private static readonly byte[] Lun0 = ScsiGuest.Lun(0, 0);

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task WriteAndRead_MoveDataBetweenGuestAndDisk(bool isPacked)
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd, new FrontEndOptions { IsPacked = isPacked });
        guest.ClearAttentions(Lun0);
        var data = new byte[8192];
        new Random(1).NextBytes(data);
        var written = guest.Do(Lun0, Cdb10(0x2A, 16, 16), data);
        Assert.Equal((0, 0, 0u, (uint)ScsiGuest.ResponseBytes), (written.Status, written.Response, written.Residual, written.UsedBytes));
        Assert.Equal(data, backEnd.Disk.Bytes.AsSpan(16 * 512, 8192).ToArray());
        var read = guest.Do(Lun0, Cdb10(0x28, 16, 16), dataInBytes: 8192);
        Assert.Equal((0, 0, 0u, ScsiGuest.ResponseBytes + 8192u), (read.Status, read.Response, read.Residual, read.UsedBytes));
        Assert.Equal(data, read.Data);
    }

    [Fact]
    public async Task FirstCommand_ReportsPowerOn()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var answer = guest.Do(Lun0, new byte[6]);
        Assert.Equal((0x02, 0), (answer.Status, answer.Response));
        Assert.Equal(18u, answer.SenseBytes);
        Assert.Equal((0x70, 0x06, 0x29), (answer.Sense[0], answer.Sense[2], answer.Sense[12]));
    }

    [Fact]
    public async Task ShorterTransfer_IsAResidual_AndLongerOneAnOverrun()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        guest.ClearAttentions(Lun0);
        var under = guest.Do(Lun0, Cdb10(0x28, 0, 1), dataInBytes: 4096);
        Assert.Equal((0, 0, 3584u, ScsiGuest.ResponseBytes + 512u), (under.Status, under.Response, under.Residual, under.UsedBytes));
        var over = guest.Do(Lun0, Cdb10(0x28, 0, 8), dataInBytes: 512);
        Assert.Equal(1, over.Response);
        var failed = guest.Do(Lun0, Cdb10(0x28, 0xFFFFFF, 1), dataInBytes: 512);
        Assert.Equal((0x02, 0, 512u), (failed.Status, failed.Response, failed.Residual));
        Assert.Equal(0x21, failed.Sense[12]);
    }

    [Theory]
    [InlineData(0, TestBackEnd.HighLun)]
    [InlineData(0, 0)]
    public async Task Lun_IsAddressedByItsNumber(int target, int lun)
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var answer = guest.Do(ScsiGuest.Lun(target, lun), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96);
        Assert.Equal((0, 0), (answer.Status, answer.Response));
        Assert.Equal(0, answer.Data[0]);
    }

    [Fact]
    public async Task AbsentLun_AnswersInquiryWithQualifier3_AndAbsentTargetIsBad()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        Assert.Equal(0x7F, guest.Do(ScsiGuest.Lun(0, 7), [0x12, 0, 0, 0, 96, 0], dataInBytes: 96).Data[0]);
        Assert.Equal(BadTarget, guest.Do(ScsiGuest.Lun(1, 0), new byte[6]).Response);
        Assert.Equal(BadTarget, guest.Do([2, 0, 0x40, 0, 0, 0, 0, 0], new byte[6]).Response);
        Assert.Equal(BadTarget, guest.Do([1, 0, 0x40, 0, 0, 0, 0, 1], new byte[6]).Response);
    }

    [Fact]
    public async Task ReportLuns_OnTheWellKnownLun_ListsAll()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var answer = guest.Do([0xC1, 1, 0, 0, 0, 0, 0, 0], [0xA0, 0, 0, 0, 0, 0, 0, 0, 0, 64, 0, 0], dataInBytes: 64);
        Assert.Equal((0, 0), (answer.Status, answer.Response));
        Assert.Equal(new byte[] { 0, 0, 0, 16, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0x41, 0x2C, 0, 0, 0, 0, 0, 0 }, answer.Data[..24]);
    }

    [Fact]
    public async Task DataInBothDirections_Fails()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var begun = guest.Begin(guest.Requests, Lun0, new byte[6], dataOut: new byte[512], dataInBytes: 512);
        Assert.Equal(9, guest.Finish(guest.Requests, begun).Response);
    }

    [Theory]
    [InlineData(0u, Aborted)]
    [InlineData(1u, Aborted)]
    [InlineData(3u, Aborted)]
    [InlineData(4u, Reset)]
    [InlineData(5u, Reset)]
    public async Task AbortedCommands_AreAnswered_BeforeTheFunctionThatEndedThem(uint function, byte expected)
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        guest.ClearAttentions(Lun0);
        backEnd.Disk.Hold();
        var first = guest.Begin(guest.Requests, Lun0, Cdb10(0x28, 0, 1), dataInBytes: 512);
        await backEnd.Disk.NextHeld();
        var second = guest.Begin(guest.OtherRequests, Lun0, Cdb10(0x28, 0, 1), dataInBytes: 512);
        await backEnd.Disk.NextHeld();
        var managed = guest.BeginManage(function, Lun0, first.Tag);

        // The queue takes its requests in order: the answer to this one says that the first is under way.
        Assert.Equal(0, guest.Manage(6, Lun0, 9999));
        Assert.False(guest.Control.IsAnswered(managed.Id));
        backEnd.Disk.Release();
        guest.Control.Wait(managed.Id);

        // Both lie in other queues: their answers are there at the moment in which the function's is.
        Assert.True(guest.Requests.IsAnswered(first.Id));
        Assert.Equal(0, guest.Ram.At(managed.Response, 1)[0]);
        Assert.Equal(expected, guest.Finish(guest.Requests, first).Response);
        var other = guest.Finish(guest.OtherRequests, second).Response;
        Assert.Equal(function == 0 ? (byte)0 : expected, other);
    }

    [Fact]
    public async Task QueryTask_TellsWhetherItIsThere()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        guest.ClearAttentions(Lun0);
        backEnd.Disk.Hold();
        var begun = guest.Begin(guest.Requests, Lun0, Cdb10(0x28, 0, 1), dataInBytes: 512);
        await backEnd.Disk.NextHeld();
        Assert.Equal(10, guest.Manage(6, Lun0, begun.Tag));
        Assert.Equal(0, guest.Manage(6, Lun0, 9999));
        Assert.Equal(10, guest.Manage(7, Lun0));
        Assert.Equal(11, guest.Manage(2, Lun0));
        Assert.Equal(11, guest.Manage(77, Lun0));
        Assert.Equal(12, guest.Manage(5, ScsiGuest.Lun(0, 9)));
        Assert.Equal(BadTarget, guest.Manage(5, ScsiGuest.Lun(9, 0)));
        backEnd.Disk.Release();
        Assert.Equal(0, guest.Finish(guest.Requests, begun).Response);
    }

    [Fact]
    public async Task NotificationSubscription_FindsNoEvents()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var request = guest.Allocate(16);
        guest.Ram.At(request, 16).Clear();
        guest.Ram.At(request, 1)[0] = 2;
        Lun0.CopyTo(guest.Ram.At(request + 4, 8));
        var answer = guest.Allocate(5);
        guest.Ram.At(answer, 5).Fill(0xEE);
        guest.Control.Wait(guest.Control.Submit(new Piece(request, 16, false), new Piece(answer, 5, true)));
        Assert.Equal(new byte[5], guest.Ram.At(answer, 5).ToArray());
    }

    [Fact]
    public async Task LunsThatComeGoAndGrow_AreEvents()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        var buffers = Enumerable.Range(0, 4).Select(_ => OfferEventBuffer(guest)).ToList();
        var added = new TestDisk(TestBackEnd.DiskBytes);
        backEnd.Target.TryAddLun(5, TestBackEnd.Unit(added, 5));
        added.Resize(TestBackEnd.DiskBytes * 2);
        backEnd.Target.RemoveLun(TestBackEnd.HighLun);
        for (var i = 0; i < 3; i++)
            Assert.Equal(16u, guest.Events.Wait(buffers[i].Id));
        Assert.Equal(new byte[] { 1, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 1, 0, 0, 0 }, guest.Ram.At(buffers[0].At, 16).ToArray());
        Assert.Equal(new byte[] { 3, 0, 0, 0, 1, 0, 0, 5, 0, 0, 0, 0, 0x2A, 9, 0, 0 }, guest.Ram.At(buffers[1].At, 16).ToArray());
        Assert.Equal(new byte[] { 1, 0, 0, 0, 1, 0, 0x41, 0x2C, 0, 0, 0, 0, 2, 0, 0, 0 }, guest.Ram.At(buffers[2].At, 16).ToArray());
        added.Resize(TestBackEnd.DiskBytes);
        guest.Events.Wait(buffers[3].Id);
    }

    [Fact]
    public void EventWithoutABuffer_IsMissed_AndTheNextBufferSaysSo()
    {
        using var ram = new GuestRam(1 << 20);
        var (ring, driver) = RingTests.Pair(ram, isPacked: false, size: 8);
        var events = new EventQueue();
        events.Add(3, 0, 7, 0x92A);
        Assert.True(events.HasToSpeak(ring));
        events.Speak(ring);
        Assert.False(events.HasToSpeak(ring));
        var first = GuestRam.GuestBase + 0x8_0000;
        driver.Submit([new Piece(first, 16, true)]);
        Assert.True(events.HasToSpeak(ring));
        events.Speak(ring);
        ring.Publish();
        Assert.True(driver.TryTakeUsed(out _, out var length));
        Assert.Equal(16u, length);
        Assert.Equal(0x8000_0000, BitConverter.ToUInt32(ram.At(first, 4)));

        events.Add(3, 0, 7, 0x92A);
        events.Speak(ring);
        driver.Submit([new Piece(first, 16, true)]);
        events.Add(1, 0, 2, 1);
        events.Speak(ring);
        Assert.Equal(0x8000_0001, BitConverter.ToUInt32(ram.At(first, 4)));
        Assert.False(events.HasToSpeak(ring));
    }

    [Fact]
    public async Task ConfigSpace_StatesTheLimits()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        byte[] config = guest.FrontEnd.Ask(24, [.. TestFrontEnd.Pair(0, 36), 0, 0, 0, 0, .. new byte[36]])[12..];
        Assert.Equal(64u, BitConverter.ToUInt32(config));
        Assert.Equal(126u, BitConverter.ToUInt32(config, 4));
        Assert.Equal(65536u, BitConverter.ToUInt32(config, 8));
        Assert.Equal(16u, BitConverter.ToUInt32(config, 16));
        Assert.Equal(96u, BitConverter.ToUInt32(config, 20));
        Assert.Equal(32u, BitConverter.ToUInt32(config, 24));
        Assert.Equal(255, BitConverter.ToUInt16(config, 30));
        Assert.Equal(16383u, BitConverter.ToUInt32(config, 32));
        Assert.Equal(66ul, guest.FrontEnd.AskNumber(17));
    }

    [Fact]
    public async Task ResetDevice_EndsTheNexus_AndStopsTheRings()
    {
        await using var backEnd = TestBackEnd.Scsi();
        using var guest = new ScsiGuest(backEnd);
        guest.ClearAttentions(Lun0);
        guest.FrontEnd.Do(34);
        Assert.Equal(0u, guest.FrontEnd.StopRing(2) & 0xFFFF_0000);
    }

    [Fact]
    public async Task Disconnection_LetsTheNextGuestIn()
    {
        await using var backEnd = TestBackEnd.Scsi();
        for (var i = 0; i < 3; i++)
        {
            using var guest = new ScsiGuest(backEnd);
            guest.ClearAttentions(Lun0);
            Assert.Equal(0, guest.Do(Lun0, Cdb10(0x28, 0, 1), dataInBytes: 512).Status);
        }
    }

    private static (ushort Id, ulong At) OfferEventBuffer(ScsiGuest guest)
    {
        var at = guest.Allocate(16);
        return (guest.Events.Submit(new Piece(at, 16, true)), at);
    }

    private static byte[] Cdb10(byte opcode, int lba, int blocks) =>
        [opcode, 0, (byte)(lba >> 24), (byte)(lba >> 16), (byte)(lba >> 8), (byte)lba, 0, (byte)(blocks >> 8), (byte)blocks, 0];
}
