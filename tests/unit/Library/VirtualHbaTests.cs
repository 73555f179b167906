using System.Net;
using CowScsi.Iscsi;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using CowScsi.Tests.Unit.Vhost;
using CowScsi.VhostUser;
using Xunit;
using ScsiAnswer = CowScsi.Scsi.ScsiAnswer;
using Initiator = CowScsi.Tests.Unit.Scsi.Initiator;

namespace CowScsi.Tests.Unit.Library;

/// <summary>A program that gets SCSI tasks and completes them itself.</summary>
public sealed class VirtualHbaTests
{
    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    [Fact]
    public async Task Task_IsGot_ReceivesSendsAndCompletes()
    {
        using var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(1 << 20));
        using var initiator = new Initiator(unit, clearsAttention: false);
        Assert.False(hba.TryGetTask(out _));

        var command = new ScsiCommand();
        var pending = initiator.Start(command, Initiator.Hex("2A 00 00 00 00 07 00 00 01 00"), Initiator.Fill(512, 0x42)).AsTask();
        Assert.True(hba.TryGetTask(out var task));
        Assert.Equal(0x2A, task.Cdb[0]);
        Assert.True(task.Command.TryGetBlocks(out var lba, out var blocks));
        Assert.Equal((7UL, 1U), (lba, blocks));
        Assert.Equal(512, task.BytesToReceive);
        var data = new byte[300];
        Assert.Equal(300, task.ReceiveData(data));
        Assert.Equal(212, task.ReceiveData(data));
        Assert.Equal(0, task.ReceiveData(data));
        Assert.Equal(0x42, data[211]);
        Assert.False(pending.IsCompleted);
        task.Complete(ScsiAnswer.Good);
        await pending.WaitAsync(Limit);
        Assert.Equal((ScsiStatus.Good, 512L), (command.Status, command.TransferLengthWanted));

        pending = initiator.Start(command, Initiator.Hex("28 00 00 00 00 07 00 00 01 00"), roomBytes: 512).AsTask();
        task = (await hba.GetTaskAsync())!.Value;
        Assert.Equal(500, task.SendData(Initiator.Fill(500, 1)));
        Assert.Equal(12, task.SendData(Initiator.Fill(100, 2)));
        task.Complete(ScsiAnswer.Good);
        await pending.WaitAsync(Limit);
        Assert.Equal((ScsiStatus.Good, 512L, 600L), (command.Status, command.DataInLength, command.TransferLengthWanted));
        Assert.Equal(2, initiator.Room.FirstSpan[511]);
    }

    [Fact]
    public async Task TaskThatIsCompletedTwice_OrLate_ChangesNothing()
    {
        using var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(1 << 20));
        using var initiator = new Initiator(unit, clearsAttention: false);
        var command = new ScsiCommand();
        var first = initiator.Start(command, [0, 0, 0, 0, 0, 0]).AsTask();
        Assert.True(hba.TryGetTask(out var old));
        old.Complete(ScsiAnswer.Good);
        await first.WaitAsync(Limit);
        Assert.Throws<InvalidOperationException>(() => old.Complete(ScsiAnswer.Good));
        var second = initiator.Start(command, [0, 0, 0, 0, 0, 0]).AsTask();
        Assert.True(hba.TryGetTask(out var present));
        Assert.Throws<InvalidOperationException>(() => old.Complete(ScsiAnswer.TargetFailure)); // the same object, in its next life
        Assert.Throws<InvalidOperationException>(() => old.SendData([1]));
        Assert.Throws<InvalidOperationException>(old.PutBack);
        Assert.False(second.IsCompleted);
        present.Complete(ScsiAnswer.Good);
        await second.WaitAsync(Limit);
        Assert.Equal(ScsiStatus.Good, command.Status);
    }

    [Fact]
    public async Task EngineThatFails_PutsItsTaskBackForAnother()
    {
        using var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(1 << 20));
        using var initiator = new Initiator(unit, clearsAttention: false);
        var command = new ScsiCommand();
        var pending = initiator.Start(command, [0x0A, 0, 0, 0, 1, 0], Initiator.Fill(512, 3)).AsTask();
        Assert.True(hba.TryGetTask(out var task));
        Assert.Equal(100, task.ReceiveData(new byte[100]));
        task.PutBack();
        Assert.Throws<InvalidOperationException>(() => task.BytesToReceive);
        Assert.True(hba.TryGetTask(out var again));
        Assert.Equal(512, again.BytesToReceive);
        again.Complete(ScsiAnswer.Good);
        await pending.WaitAsync(Limit);
    }

    [Fact]
    public async Task AbortedTask_IsNotGivenOut_AndTheEndOfTheHbaEndsWhatWaits()
    {
        var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(1 << 20));
        using var initiator = new Initiator(unit, clearsAttention: false);
        var aborted = new ScsiCommand();
        var first = initiator.Start(aborted, [0, 0, 0, 0, 0, 0], tag: 5).AsTask();
        var abort = initiator.Target.ManageAsync(initiator.Nexus, TaskManagementFunction.AbortTask, 0, 5).AsTask();
        Assert.False(hba.TryGetTask(out _));
        Assert.Equal(TaskManagementResponse.FunctionComplete, await abort.WaitAsync(Limit));
        await first.WaitAsync(Limit);
        Assert.True(aborted.IsAborted);

        var waiting = new ScsiCommand();
        var second = initiator.Start(waiting, [0, 0, 0, 0, 0, 0]).AsTask();
        hba.Dispose();
        await second.WaitAsync(Limit);
        Assert.Equal(0x020400, Initiator.SenseOf(waiting));
        Assert.Null(await hba.GetTaskAsync());
        initiator.AssertSense(0x020400, "00 00 00 00 00 00");
    }

    [SkippableFact]
    public async Task DiskOfOnesOwn_IsServedOverIscsi_ByTwoEngines()
    {
        LibiscsiClient.SkipWhereMissing();
        const int SizeBytes = 8 << 20;
        using var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(SizeBytes));
        var content = new byte[SizeBytes];
        var engines = new[] { RunEngineAsync(hba, content), RunEngineAsync(hba, content) };
        await using (var disk = IscsiDisk.Serve(unit, "engine", new IPEndPoint(IPAddress.Loopback, 0)))
        {
            Assert.Contains("Vendor:COWSCSI", (await LibiscsiClient.InquireAsync(disk.Address, "iqn.1993-08.org.debian:a")).Said, StringComparison.Ordinal);
            await QemuIo.RunAsync(disk.Address, "write -P 0x5a 1M 256k", "flush", "read -P 0x5a 1M 256k", "read -P 0 0 64k");
        }

        Assert.Equal(256 << 10, content.AsSpan().Count((byte)0x5A));
        hba.Dispose();
        var counts = await Task.WhenAll(engines).WaitAsync(Limit);
        Assert.True(counts.Sum() >= 3, "the engines carried out no reads and writes");
    }

    [Fact]
    public async Task InitiatorOfTheTests_GetsItsDataAndSense()
    {
        using var hba = new VirtualHba();
        await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(1 << 20));
        await using var disk = IscsiDisk.Serve(unit, TestInitiator.TargetName, new IPEndPoint(IPAddress.Loopback, 0));
        using var initiator = new TestInitiator(disk.Portal);
        initiator.Login();
        var tag = initiator.Command(0xC0, 100, [0xC7, 0, 0, 0, 0, 0]);
        var task = (await hba.GetTaskAsync().AsTask().WaitAsync(Limit))!.Value;
        Assert.Equal("from the program"u8.Length, task.SendData("from the program"u8));
        task.Complete(ScsiAnswer.Good);
        var answer = initiator.Receive();
        Assert.Equal((tag, "from the program"), (answer.Tag, System.Text.Encoding.ASCII.GetString(answer.Data)));
    }

    [Fact]
    public async Task DiskOfOnesOwn_IsAVirtualMachinesToo()
    {
        const int SizeBytes = 1 << 20;
        var folder = Directory.CreateTempSubdirectory("hba-");
        try
        {
            using var hba = new VirtualHba();
            await using var unit = hba.CreateUnit("engine", BlockGeometry.OfSize(SizeBytes));
            var content = new byte[SizeBytes];
            var engine = RunEngineAsync(hba, content);
            await using (var disk = VhostUserDisk.Listen(unit, Path.Combine(folder.FullName, "socket")))
            {
                using var guest = new ScsiGuest(new TestFrontEnd(disk.Address));
                var lun = ScsiGuest.Lun(0, 0);
                guest.ClearAttentions(lun);
                var data = Initiator.Fill(1024, 0x6B);
                Assert.Equal(0, guest.Do(lun, [0x2A, 0, 0, 0, 0, 9, 0, 0, 2, 0], dataOut: data).Status);
                Assert.Equal(data, guest.Do(lun, [0x28, 0, 0, 0, 0, 9, 0, 0, 2, 0], dataInBytes: 1024).Data);
            }

            Assert.Equal(1024, content.AsSpan(9 * 512, 1024).Count((byte)0x6B));
            hba.Dispose();
            Assert.Equal(2, await engine.WaitAsync(Limit));
        }
        finally
        {
            folder.Delete(recursive: true);
        }
    }

    /// <summary>Reads and writes memory; leaves the rest. Gives the number of those.</summary>
    private static async Task<int> RunEngineAsync(VirtualHba hba, byte[] content)
    {
        var count = 0;
        while (await hba.GetTaskAsync() is { } task)
        {
            if (!task.Command.TryGetBlocks(out var lba, out var blocks) || task.Cdb[0] is not (0x28 or 0x2A or 0x88 or 0x8A))
            {
                task.Complete(ScsiAnswer.NotHandled);
                continue;
            }

            count++;
            var part = content.AsSpan((int)lba * 512, (int)blocks * 512);
            if ((task.Cdb[0] & 2) == 0)
                task.SendData(part);
            else
                task.ReceiveData(part);
            task.Complete(ScsiAnswer.Good);
        }

        return count;
    }
}
