using System.Net.Sockets;
using CowScsi.Iscsi.Pdu;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;
using Xunit.Sdk;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>The one writer: random stamped writes over an iSCSI session, with a bounded number outstanding, entered in a history.</summary>
internal sealed class StampedStream(TestInitiator initiator, WriteHistory history, KillPlan plan, uint seed)
{
    private const int SectorsPerBlock = StampedBlock.Bytes / 512;
    private const int BlocksMax = 16;
    private const int ForcedEvery = 60;
    private const byte WriteFlags = 0xA0;
    private const byte NoDataFlags = 0x80;

    private readonly Dictionary<uint, IssuedWrite> writes = [];
    private readonly Dictionary<uint, long> flushes = [];
    private readonly Random random = plan.Random;

    /// <summary>Answers taken, to writes and flushes.</summary>
    public int Answers { get; private set; }

    public bool IsFlushOutstanding => flushes.Count > 0;

    /// <summary>Takes SPACE ALLOCATION FAILED for an answer to a write. Such a write may be there in part, as one that nobody answered.</summary>
    public bool TakesRefusals { get; init; }

    /// <summary>Writes that were refused for lack of space.</summary>
    public int Refused { get; private set; }

    public int WritesOutstanding => writes.Count;

    /// <summary>Sends what the depth allows, and takes one answer.</summary>
    public void Step()
    {
        Fill();
        Assert.True(TakeAnswer(), "the server closed the connection before it was killed");
    }

    /// <summary>Sends what the depth allows.</summary>
    public void Fill()
    {
        while (writes.Count < plan.Depth)
        {
            SendWrite();
            if (plan.FlushEvery > 0 && flushes.Count == 0 && random.Next(plan.FlushEvery) == 0)
                SendFlush();
        }
    }

    public void SendFlush()
    {
        var sentAt = history.Tick();
        // SYNCHRONIZE CACHE (10) of the whole disk, SBC-4 5.26.
        flushes.Add(initiator.Command(NoDataFlags, 0, [0x35, 0, 0, 0, 0, 0, 0, 0, 0, 0]), sentAt);
    }

    /// <summary>Takes the answers to all that is outstanding.</summary>
    public void Finish()
    {
        while (writes.Count + flushes.Count > 0)
            Assert.True(TakeAnswer(), "the server closed the connection before it was killed");
    }

    /// <summary>After the kill: answers that had left the server count as much as any.</summary>
    public void TakeWhatCame()
    {
        while (TakeAnswer())
            continue;
    }

    private bool TakeAnswer()
    {
        WirePdu? pdu;
        try
        {
            pdu = initiator.ReceiveOrEnd();
        }
        catch (SocketException error) when (error.SocketErrorCode is SocketError.TimedOut or SocketError.WouldBlock)
        {
            throw new XunitException($"no answer; {flushes.Count} flushes outstanding, and {string.Join(", ", writes.Values)}", error);
        }

        if (pdu is null)
            return false;
        Assert.Equal(Opcode.ScsiResponse, pdu.Opcode);
        initiator.ExpStatSN = pdu[24] + 1;
        if (writes.Remove(pdu.Tag, out var write))
        {
            if (TakesRefusals && IsSpaceAllocationFailed(pdu))
            {
                Refused++;
            }
            else if (!(TakesRefusals && IsThresholdReached(pdu)))
            {
                Assert.True(pdu.Header[3] == 0, $"{write} ended with status {pdu.Header[3]:X2} {Convert.ToHexString(pdu.Data)}");
                history.Acknowledge(write);
            }
        }
        else
        {
            Assert.True(flushes.Remove(pdu.Tag, out var sentAt), $"an answer to command {pdu.Tag}, which is not outstanding");
            if (TakesRefusals && IsThresholdReached(pdu))
                return true;
            Assert.True(pdu.Header[3] == 0, $"a flush ended with status {pdu.Header[3]:X2}");
            history.Flushed(sentAt);
        }

        Answers++;
        return true;
    }

    /// <summary>CHECK CONDITION with DATA PROTECT, SPACE ALLOCATION FAILED WRITE PROTECT (07/27/07), in fixed format; SBC-4 4.7.3.6.</summary>
    public static bool IsSpaceAllocationFailed(WirePdu response) => HasSense(response, 0x07, 0x27, 0x07);

    /// <summary>
    /// CHECK CONDITION with UNIT ATTENTION, THIN PROVISIONING SOFT THRESHOLD REACHED (06/38/07): the warning that space will be short. The
    /// command was not carried out.
    /// </summary>
    public static bool IsThresholdReached(WirePdu response) => HasSense(response, 0x06, 0x38, 0x07);

    private static bool HasSense(WirePdu response, byte key, byte code, byte qualifier) =>
        response.Header[3] == 0x02 && response.Data.Length >= 2 + 14 && (response.Data[2] & 0x7F) == 0x70 &&
        (response.Data[2 + 2] & 0x0F) == key && response.Data[2 + 12] == code && response.Data[2 + 13] == qualifier;

    private void SendWrite()
    {
        int block, count;
        do
        {
            count = random.Next(10) switch { < 5 => 1, < 8 => random.Next(2, 5), _ => random.Next(5, BlocksMax + 1) };
            block = random.Next(history.Blocks - count + 1);
        }
        while (writes.Values.Any(other => block < other.Block + other.Count && other.Block < block + count));

        var write = history.Issue(block, count, isForced: random.Next(ForcedEvery) == 0);
        var data = new byte[count * StampedBlock.Bytes];
        for (var i = 0; i < count; i++)
            StampedBlock.Fill(data.AsSpan(i * StampedBlock.Bytes, StampedBlock.Bytes), seed, plan.Round, write.Sequence, block + i, random);
        var cdb = TestInitiator.Write10(block * SectorsPerBlock, count * SectorsPerBlock);
        cdb[1] = write.IsForced ? (byte)0x08 : (byte)0;
        writes.Add(initiator.Command(WriteFlags, (uint)data.Length, cdb, data), write);
    }
}
