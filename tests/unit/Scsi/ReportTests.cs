using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>REPORT SUPPORTED OPERATION CODES against what is really carried out, and the other reports.</summary>
public sealed class ReportTests
{
    private sealed record Listed(byte Opcode, int ServiceAction, int CdbLength);

    [Theory]
    [InlineData(false, false)]
    [InlineData(true, false)]
    [InlineData(false, true)]
    [InlineData(true, true)]
    public void SupportedOpcodes_AreExactlyThoseThatAreCarriedOut(bool isThin, bool isRemovable)
    {
        using var initiator = new Initiator(
            new RamDisk(discardBytes: isThin ? 4096 : 0), new LogicalUnitOptions { IsRemovable = isRemovable });
        var listed = ListAll(initiator);
        for (var opcode = 0; opcode < 256; opcode++)
        {
            var actions = listed.Where(l => l.Opcode == opcode).ToList();
            var hasActions = actions.Exists(l => l.ServiceAction >= 0);
            for (var action = 0; action < (hasActions ? 32 : 1); action++)
            {
                var cdb = new byte[16];
                cdb[0] = (byte)opcode;
                cdb[1] = (byte)action;

                // A reserved bit that no command has stops the command before it does anything.
                cdb[^1] = 0x04;
                cdb[5] |= (byte)(opcode < 0x20 ? 0x04 : 0);
                cdb[9] |= (byte)(opcode is >= 0x20 and < 0x60 ? 0x04 : 0);
                cdb[11] |= (byte)(opcode >= 0xA0 ? 0x04 : 0);
                Assert.Equal(ScsiStatus.CheckCondition, initiator.Send(cdb));
                var isListed = hasActions ? actions.Exists(l => l.ServiceAction == action) : actions.Count == 1;
                var pointsAtAction = initiator.Sense == 0x052400 && initiator.Command.Sense[15] == 0xCC && initiator.Command.Sense[17] == 1;
                Assert.Equal(isListed, initiator.Sense == 0x052400 && !pointsAtAction);
                if (!isListed && !hasActions)
                    Assert.Equal(0x052000, initiator.Sense);
            }
        }

        Assert.Equal(isThin, listed.Exists(l => l.Opcode == 0x42));
        Assert.Equal(isRemovable, listed.Exists(l => l.Opcode == 0x1E));
    }

    [Fact]
    public void SupportedOpcodes_UsageMasksAreEnforcedBitByBit()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        foreach (var listed in ListAll(initiator))
        {
            var usage = UsageOf(initiator, listed);
            Assert.Equal(listed.Opcode, usage[0]);
            if (listed.ServiceAction >= 0)
                Assert.Equal(listed.ServiceAction, usage[1] & 0x1F);
            for (var bit = 8; bit < usage.Length * 8; bit++)
            {
                if ((usage[bit / 8] & (1 << (bit % 8))) != 0 || (listed.ServiceAction >= 0 && bit is >= 8 and < 13))
                    continue;
                var cdb = new byte[usage.Length];
                cdb[0] = listed.Opcode;
                cdb[1] = (byte)Math.Max(0, listed.ServiceAction);
                cdb[bit / 8] |= (byte)(1 << (bit % 8));
                initiator.AssertInvalidCdb(Convert.ToHexString(cdb), bit / 8, bit % 8);
            }
        }
    }

    [Fact]
    public void SupportedOpcodes_WithTimeouts_HaveADescriptorEach()
    {
        using var initiator = new Initiator();
        var count = ListAll(initiator).Count;
        initiator.AssertGood("A3 0C 80 00 00 00 00 01 00 00 00 00");
        Assert.Equal(4 + (count * 20), initiator.Data.Length);
        Assert.Equal(count * 20, BinaryPrimitives.ReadInt32BigEndian(initiator.Data));
        for (var i = 0; i < count; i++)
        {
            var descriptor = initiator.Data.Slice(4 + (i * 20), 20);
            Assert.Equal(0x02, descriptor[5] & 0x02);
            Assert.Equal(0x0A, BinaryPrimitives.ReadUInt16BigEndian(descriptor[8..]));
            Assert.NotEqual(0u, BinaryPrimitives.ReadUInt32BigEndian(descriptor[16..]));
        }
    }

    [Theory]
    [InlineData("A3 0C 01 28 00 00 00 00 00 FF 00 00", "00 03 00 0A 28 18 FF FF FF FF 00 FF FF 00")]
    [InlineData("A3 0C 81 28 00 00 00 00 00 FF 00 00", "00 83 00 0A 28 18 FF FF FF FF 00 FF FF 00 00 0A 00 00 00 00 00 00 00 00 00 1E")]
    [InlineData("A3 0C 02 9E 00 10 00 00 00 FF 00 00", "00 03 00 10 9E 10 00 00 00 00 00 00 00 00 FF FF FF FF 00 00")]
    [InlineData("A3 0C 03 9E 00 10 00 00 00 FF 00 00", "00 03 00 10 9E 10 00 00 00 00 00 00 00 00 FF FF FF FF 00 00")]
    [InlineData("A3 0C 03 12 00 00 00 00 00 FF 00 00", "00 03 00 06 12 01 FF FF FF 00")]
    [InlineData("A3 0C 03 12 00 01 00 00 00 FF 00 00", "00 01 00 00")]
    [InlineData("A3 0C 01 E1 00 00 00 00 00 FF 00 00", "00 01 00 00")]
    [InlineData("A3 0C 02 9E 00 11 00 00 00 FF 00 00", "00 01 00 00")]
    [InlineData("A3 0C 01 28 00 00 00 00 00 06 00 00", "00 03 00 0A 28 18")]
    public void SupportedOpcode_OfOneCommand_AnswersItsUsage(string cdb, string expected)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(Initiator.Hex(expected), initiator.Data.ToArray());
    }

    [Theory]
    [InlineData("A3 0C 01 9E 00 10 00 00 00 FF 00 00", 3, -1)]
    [InlineData("A3 0C 02 28 00 00 00 00 00 FF 00 00", 3, -1)]
    [InlineData("A3 0C 04 28 00 00 00 00 00 FF 00 00", 2, 2)]
    [InlineData("A3 0E 00 00 00 00 00 00 00 FF 00 00", 1, 4)]
    public void SupportedOpcode_WithTheWrongOption_PointsAtIt(string cdb, int fieldByte, int fieldBit)
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb(cdb, fieldByte, fieldBit);
    }

    [Theory]
    [InlineData("A3 0D 00 00 00 00 00 00 00 FF 00 00", "DE 03 00 00")]
    [InlineData("A3 0D 80 00 00 00 00 00 00 FF 00 00", "DE 03 00 0C 00 00 00 00 00 00 00 00 00 00 00 00")]
    public void SupportedTaskManagementFunctions_AreReported(string cdb, string expected)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(Initiator.Hex(expected), initiator.Data.ToArray());
    }

    [Theory]
    [InlineData("37 00 00 00 00 00 00 00 20 00", "00 00 00 00")]
    [InlineData("37 00 1D 00 00 00 00 00 20 00", "00 1D 00 00")]
    [InlineData("B7 0D 00 00 00 00 00 00 00 20 00 00", "00 0D 00 00 00 00 00 00")]
    public void ReadDefectData_IsEmpty(string cdb, string expected)
    {
        using var initiator = new Initiator();
        initiator.AssertGood(cdb);
        Assert.Equal(Initiator.Hex(expected), initiator.Data.ToArray());
    }

    private static List<Listed> ListAll(Initiator initiator)
    {
        initiator.AssertGood("A3 0C 00 00 00 00 00 01 00 00 00 00");
        var data = initiator.Data;
        Assert.Equal(data.Length - 4, BinaryPrimitives.ReadInt32BigEndian(data));
        var listed = new List<Listed>();
        for (var at = 4; at < data.Length; at += 8)
        {
            var hasAction = (data[at + 5] & 1) != 0;
            var action = BinaryPrimitives.ReadUInt16BigEndian(data[(at + 2)..]);
            Assert.True(hasAction || action == 0);
            listed.Add(new Listed(data[at], hasAction ? action : -1, BinaryPrimitives.ReadUInt16BigEndian(data[(at + 6)..])));
        }

        Assert.Equal(listed.Count, listed.Distinct().Count());
        return listed;
    }

    private static byte[] UsageOf(Initiator initiator, Listed listed)
    {
        var option = listed.ServiceAction >= 0 ? 2 : 1;
        initiator.AssertGood($"A3 0C 0{option} {listed.Opcode:X2} {Math.Max(0, listed.ServiceAction):X4} 00 00 00 FF 00 00");
        Assert.Equal(listed.CdbLength, BinaryPrimitives.ReadUInt16BigEndian(initiator.Data[2..]));
        return initiator.Data[4..].ToArray();
    }
}
