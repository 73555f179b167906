using CowScsi.Iscsi;
using CowScsi.Iscsi.Pdu;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Reads and writes in every way the negotiation allows.</summary>
public sealed class TransferTests
{
    public static TheoryData<bool, bool, int, int> WriteWays()
    {
        var ways = new TheoryData<bool, bool, int, int>();
        foreach (var initialR2T in new[] { true, false })
        foreach (var immediate in new[] { true, false })
        foreach (var firstBurst in new[] { 512, 1024, 4096 })
        foreach (var outstanding in new[] { 1, 3 })
            ways.Add(initialR2T, immediate, firstBurst, outstanding);
        return ways;
    }

    [Theory]
    [MemberData(nameof(WriteWays))]
    public async Task Write_ByImmediateUnsolicitedAndSolicitedData(bool initialR2T, bool immediate, int firstBurst, int outstanding)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login(
            $"InitialR2T={(initialR2T ? "Yes" : "No")}", $"ImmediateData={(immediate ? "Yes" : "No")}", $"FirstBurstLength={firstBurst}",
            "MaxBurstLength=2048", $"MaxOutstandingR2T={outstanding}");
        // No first burst is longer than a burst: the target's answer to 4096 is 2048.
        firstBurst = Math.Min(firstBurst, 2048);
        foreach (var blocks in new[] { 1, 2, 3, 8, 17 })
        {
            var data = TestInitiator.Pattern(blocks * 512, blocks);
            var immediateBytes = immediate ? Math.Min(512, data.Length) : 0;
            var unsolicited = initialR2T ? immediateBytes : Math.Min(firstBurst, data.Length);
            var isFinal = unsolicited == immediateBytes;
            var flags = (byte)(isFinal ? 0xA0 : 0x20);
            var tag = initiator.Command(flags, (uint)data.Length, TestInitiator.Write10(40, blocks), data[..immediateBytes]);
            if (!isFinal)
                SendBurst(initiator, tag, PduField.NoTag, data, immediateBytes, unsolicited, 512);
            var answer = Solicit(initiator, tag, data, unsolicited, outstanding, 2048);
            Assert.Equal(0, answer.Header[3]);
            Assert.Equal(0u, answer[44]);
            Assert.Equal(data, target.Disk.Bytes.AsSpan(40 * 512, data.Length).ToArray());
            Assert.Equal(data, initiator.Read(40, blocks, out _));
        }
    }

    [Fact]
    public async Task Write_LargerThanTheReceiveBufferArrivesWhole()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes", "MaxBurstLength=1048576");
        var data = TestInitiator.Pattern(3 * 1024 * 1024, 1);
        var tag = initiator.Command(0xA0, (uint)data.Length, TestInitiator.Write10(16, data.Length / 512));
        var answer = Solicit(initiator, tag, data, 0, 1, 1048576, 200_000);
        Assert.Equal(0, answer.Header[3]);
        Assert.Equal(data, target.Disk.Bytes.AsSpan(16 * 512, data.Length).ToArray());
    }

    [Theory]
    [InlineData(512, 4096)]
    [InlineData(1000, 1536)]
    [InlineData(8192, 16384)]
    [InlineData(262144, 1048576)]
    public async Task Read_IsCutByMaxRecvDataSegmentLengthAndMaxBurstLength(int segment, int burst)
    {
        await using var target = new TestTarget();
        TestInitiator.Pattern(64 * 512, 3).CopyTo(target.Disk.Bytes, 0);
        using var initiator = target.Login($"MaxRecvDataSegmentLength={segment}", $"MaxBurstLength={burst}");
        foreach (var blocks in new[] { 1, 2, 3, 64 })
        {
            var data = initiator.Read(0, blocks, out var pdus);
            Assert.Equal(target.Disk.Bytes.AsSpan(0, blocks * 512).ToArray(), data);
            var offset = 0;
            var inBurst = 0;
            for (var i = 0; i < pdus.Count; i++)
            {
                Assert.Equal((uint)i, pdus[i][36]);
                Assert.Equal((uint)offset, pdus[i][40]);
                Assert.True(pdus[i].Data.Length <= segment);
                offset += pdus[i].Data.Length;
                inBurst += pdus[i].Data.Length;
                Assert.True(inBurst <= burst);
                Assert.Equal(inBurst == burst || i == pdus.Count - 1, (pdus[i].Flags & 0x80) != 0);
                if (inBurst == burst)
                    inBurst = 0;
                Assert.Equal(i == pdus.Count - 1, (pdus[i].Flags & 1) != 0);
            }
        }
    }

    /// <summary>Long reads may go to another thread where the connection has more to do; with one command beside them they stay.</summary>
    [Fact]
    public async Task Read_IsOffloadedWhereOtherCommandsAreUnderWay()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Read(0, 1, out _);
        target.Disk.Hold();
        for (var i = 0; i < 4; i++)
        {
            initiator.Command(0xC0, 512, TestInitiator.Read10(i, 1));
            Assert.True(SpinWait.SpinUntil(() => target.Disk.ReadsSeen.Count == i + 2, 10_000));
        }

        target.Disk.Release();
        for (var i = 0; i < 4; i++)
            initiator.ReceiveStatus(ScsiStatusByte.Good);
        initiator.Read(0, 1, out _);
        Assert.Equal(
            [ReadOptions.None, ReadOptions.None, ReadOptions.None, ReadOptions.Offload, ReadOptions.Offload, ReadOptions.None], target.Disk.ReadsSeen);
    }

    /// <summary>A read that completed elsewhere brings its digest along, where its data is one PDU and the PDU all of it.</summary>
    [Theory]
    [InlineData(16, 8192)]
    [InlineData(16, 8191)]
    [InlineData(48, 8192)]
    [InlineData(16, 1000)]
    public async Task Read_ThatWaited_HasTheRightDataDigest(int blocks, int segment)
    {
        await using var target = new TestTarget();
        TestInitiator.Pattern(64 * 512, 3).CopyTo(target.Disk.Bytes, 0);
        using var initiator = target.Login("DataDigest=CRC32C", $"MaxRecvDataSegmentLength={segment}");
        Assert.True(initiator.HasDataDigest);
        foreach (var room in new[] { blocks * 512, (blocks * 512) - 2 })
        {
            target.Disk.Hold();
            initiator.Command(0xC0, (uint)room, TestInitiator.Read10(0, blocks));
            await target.Disk.Arrival;
            target.Disk.Release();
            List<byte> data = [];
            WirePdu pdu;
            do
            {
                pdu = initiator.Receive(Opcode.DataIn);
                data.AddRange(pdu.Data);
            }
            while ((pdu.Flags & 1) == 0);
            Assert.Equal(target.Disk.Bytes.AsSpan(0, room).ToArray(), data.ToArray());
        }
    }

    // expected transfer length, blocks in the CDB, flags O 4 / U 2, residual
    [Theory]
    [InlineData(512, 1, 0, 0)]
    [InlineData(1024, 1, 2, 512)]
    [InlineData(1000, 1, 2, 488)]
    [InlineData(512, 2, 4, 512)]
    [InlineData(100, 1, 4, 412)]
    [InlineData(4096, 0, 2, 4096)]
    public async Task Read_ReportsItsResidual(int expected, int blocks, int flags, int residual)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Command(0xC0, (uint)expected, TestInitiator.Read10(0, blocks));
        var answer = initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(flags, answer.Flags & 6);
        Assert.Equal((uint)residual, answer[44]);
        Assert.Equal(Math.Min(expected, blocks * 512), answer.Data.Length);
        initiator.ClearUnitAttentions();
    }

    [Theory]
    [InlineData(1024, 1, 2, 512)]
    [InlineData(4096, 0, 2, 4096)]
    public async Task Write_ReportsItsResidual(int expected, int blocks, int flags, int residual)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Command(0xA0, (uint)expected, TestInitiator.Write10(0, blocks), new byte[expected]);
        var answer = initiator.ReceiveStatus(ScsiStatusByte.Good);
        Assert.Equal(flags, answer.Flags & 6);
        Assert.Equal((uint)residual, answer[44]);
    }

    [Fact]
    public async Task Command_ThatFailsCarriesItsSense()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Command(0xC0, 512, TestInitiator.Read10(TestTarget.DiskBytes / 512, 1));
        var answer = initiator.Receive(Opcode.ScsiResponse);
        Assert.Equal(2, answer.Header[3]);
        Assert.Equal(answer.Data.Length - 2, (answer.Data[0] << 8) | answer.Data[1]);
        Assert.Equal(5, answer.Data[2 + 2] & 0xF);
        Assert.Equal(0x21, answer.Data[2 + 12]);
        Assert.Equal(2, answer.Flags & 6);
        Assert.Equal(512u, answer[44]);
    }

    [Fact]
    public async Task Command_BothWaysIsRefused()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        initiator.Command(0xE0, 512, TestInitiator.Write10(0, 1), new byte[512]);
        Assert.Equal(5, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[4] & 0xF);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task Command_WithAnExtendedCdbReachesTheTarget()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        var pdu = TestInitiator.Pdu(Opcode.ScsiCommand, 0x80, initiator.NewTag());
        pdu[24] = initiator.CmdSN++;
        pdu.Header[32] = 0x7F;
        // AHSLength 17: the reserved byte and 16 more bytes of CDB.
        pdu.Ahs = [0, 17, 1, 0, .. new byte[16]];
        initiator.Send(pdu);
        var answer = initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
        Assert.Equal(5, answer.Data[4] & 0xF);
        Assert.Equal(0x20, answer.Data[2 + 12]);
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task Write_TooLongForTheTargetIsRefusedBeforeItsData()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("InitialR2T=Yes");
        initiator.Command(0xA0, 0xFFFF_0000, TestInitiator.Write10(0, 1));
        Assert.Equal(0x24, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[2 + 12]);
        initiator.Command(0xC0, 0xFFFF_0000, TestInitiator.Read10(0, 1));
        Assert.Equal(0xFFFF_0000 - 512, initiator.ReceiveStatus(ScsiStatusByte.Good)[44]);
    }

    [Fact]
    public async Task Commands_LargerThanAnyBufferAreRefusedForGood()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { PendingDataBytesMax = 4 * 1024 * 1024 });
        using var initiator = target.Login("InitialR2T=Yes", "ImmediateData=No");
        initiator.Command(0xA0, (1024 * 1024) + 512, TestInitiator.Write10(0, 2049));
        Assert.Equal(0x24, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[2 + 12]);
        initiator.Command(0xC0, (1024 * 1024) + 512, TestInitiator.Read10(0, 2049));
        Assert.Equal(0x24, initiator.ReceiveStatus(ScsiStatusByte.CheckCondition).Data[2 + 12]);
        Assert.Equal(1024 * 1024, initiator.Read(0, 2048, out _).Length);
    }

    [Fact]
    public async Task Commands_BeyondTheMemoryBoundEndWithTaskSetFull()
    {
        await using var target = new TestTarget(new IscsiPortalOptions { PendingDataBytesMax = 4 * 1024 * 1024 });
        using var initiator = target.Login("InitialR2T=Yes");
        initiator.Command(0xA0, 1024 * 1024, TestInitiator.Write10(0, 2048));
        initiator.Receive(Opcode.ReadyToTransfer);
        initiator.Command(0xA0, 1024 * 1024, TestInitiator.Write10(0, 2048));
        initiator.ReceiveStatus(ScsiStatusByte.TaskSetFull);
    }

    [Theory]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public async Task Digests_GuardEveryPdu(bool header, bool data)
    {
        await using var target = new TestTarget();
        using var initiator = target.Login(
            $"HeaderDigest={(header ? "CRC32C" : "None")}", $"DataDigest={(data ? "CRC32C,None" : "None")}", "InitialR2T=No",
            "FirstBurstLength=1024");
        Assert.Equal(header, initiator.HasHeaderDigest);
        Assert.Equal(data, initiator.HasDataDigest);
        foreach (var blocks in new[] { 1, 9, 400 })
        {
            var bytes = TestInitiator.Pattern(blocks * 512, blocks);
            var unsolicited = Math.Min(1024, bytes.Length);
            var tag = initiator.Command(0x20, (uint)bytes.Length, TestInitiator.Write10(0, blocks), bytes[..300]);
            SendBurst(initiator, tag, PduField.NoTag, bytes, 300, unsolicited, 333);
            Assert.Equal(0, Solicit(initiator, tag, bytes, unsolicited, 8, 262144, 9_999).Header[3]);
            Assert.Equal(bytes, initiator.Read(0, blocks, out _));
        }
    }

    [Fact]
    public async Task DataDigest_WrongOnWriteDataEndsTheCommandOnly()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("DataDigest=CRC32C", "InitialR2T=Yes", "ImmediateData=No");
        var before = target.Disk.Bytes.AsSpan(0, 1024).ToArray();
        var tag = initiator.Command(0xA0, 1024, TestInitiator.Write10(0, 2));
        var r2t = initiator.Receive(Opcode.ReadyToTransfer);
        initiator.SpoilDataDigest = true;
        initiator.DataOut(tag, r2t[20], 0, 0, TestInitiator.Pattern(512, 1), isFinal: false);
        var reject = initiator.Receive(Opcode.Reject);
        Assert.Equal((byte)RejectReason.DataDigestError, reject.Header[2]);
        initiator.DataOut(tag, r2t[20], 1, 512, TestInitiator.Pattern(512, 1), isFinal: true);
        var answer = initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
        Assert.Equal([0x0B, 0x47, 0x05], new[] { answer.Data[4], answer.Data[14], answer.Data[15] });
        Assert.Equal(before, target.Disk.Bytes.AsSpan(0, 1024).ToArray());
        initiator.ClearUnitAttentions();
    }

    [Fact]
    public async Task DataDigest_WrongOnImmediateDataRejectsTheCommandAndKeepsItsNumber()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("DataDigest=CRC32C");
        initiator.SpoilDataDigest = true;
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 1));
        Assert.Equal((byte)RejectReason.DataDigestError, initiator.Receive(Opcode.Reject).Header[2]);
        initiator.CmdSN--;
        initiator.Command(0xA0, 512, TestInitiator.Write10(0, 1), TestInitiator.Pattern(512, 1));
        initiator.ReceiveStatus(ScsiStatusByte.Good);
    }

    [Fact]
    public async Task HeaderDigest_WrongEndsTheConnection()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login("HeaderDigest=CRC32C");
        initiator.SpoilHeaderDigest = true;
        initiator.Command(0x80, 0, new byte[6]);
        Assert.Empty(initiator.ReceiveToEnd());
    }

    private static void SendBurst(TestInitiator initiator, uint tag, uint transferTag, byte[] data, int from, int to, int part)
    {
        uint dataSN = 0;
        for (var offset = from; offset < to; offset += part)
        {
            var end = Math.Min(offset + part, to);
            initiator.DataOut(tag, transferTag, dataSN++, offset, data[offset..end], end == to);
        }
    }

    /// <summary>Answers R2Ts in their order until the response; the target keeps exactly as many outstanding as were agreed.</summary>
    private static WirePdu Solicit(TestInitiator initiator, uint tag, byte[] data, int sent, int outstanding, int maxBurst, int part = 700)
    {
        uint r2tSN = 0;
        var solicited = sent;
        Queue<WirePdu> pending = new();
        while (true)
        {
            while (pending.Count < outstanding && solicited < data.Length)
            {
                var r2t = initiator.Receive(Opcode.ReadyToTransfer);
                Assert.Equal(tag, r2t.Tag);
                Assert.Equal(r2tSN++, r2t[36]);
                Assert.Equal((uint)solicited, r2t[40]);
                Assert.Equal((uint)Math.Min(maxBurst, data.Length - solicited), r2t[44]);
                solicited += (int)r2t[44];
                pending.Enqueue(r2t);
            }

            if (!pending.TryDequeue(out var due))
                return initiator.ReceiveStatus(ScsiStatusByte.Good);
            SendBurst(initiator, tag, due[20], data, (int)due[40], (int)(due[40] + due[44]), part);
        }
    }
}
