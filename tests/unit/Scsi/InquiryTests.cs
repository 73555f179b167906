using System.Buffers.Binary;
using System.Text;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>INQUIRY, its pages, READ CAPACITY, and the identity behind them.</summary>
public sealed class InquiryTests
{
    [Fact]
    public void Inquiry_Standard_SaysWhatTheUnitIs()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 00 00 00 FF 00");
        Assert.Equal(
            Initiator.Hex(
                "00 00 06 12 5B 28 00 02" + "43 4F 57 53 43 53 49 20" + "77 65 62 5F 73 65 72 76 65 72 20 20 20 20 20 20" + "30 30 30 31" +
                "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00" + "00 A0 04 60 04 C0 09 60" +
                "00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"),
            initiator.Data.ToArray());
    }

    [Fact]
    public void Inquiry_OfARemovableUnit_HasTheBit()
    {
        using var initiator = new Initiator(options: new LogicalUnitOptions { IsRemovable = true });
        initiator.AssertGood("12 00 00 00 24 00");
        Assert.Equal(0x80, initiator.Data[1]);
        Assert.Equal(36, initiator.Data.Length);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(1)]
    [InlineData(5)]
    [InlineData(95)]
    [InlineData(96)]
    public void Inquiry_IsCutAtTheAllocationLength(int allocation)
    {
        using var initiator = new Initiator();
        initiator.AssertGood($"12 00 00 {allocation:X4} 00");
        Assert.Equal(allocation, initiator.Data.Length);
        Assert.Equal(allocation, initiator.Command.TransferLengthWanted);
    }

    [Fact]
    public void Inquiry_WithLessRoomThanAllocated_WantsTheAllocation()
    {
        using var initiator = new Initiator();
        Assert.Equal(ScsiStatus.Good, initiator.Send("12 00 00 00 60 00", roomBytes: 10));
        Assert.Equal(10, initiator.Data.Length);
        Assert.Equal(96, initiator.Command.TransferLengthWanted);
    }

    [Theory]
    [InlineData("12 00 80 00 FF 00", 2, -1)]
    [InlineData("12 01 7F 00 FF 00", 2, -1)]
    [InlineData("12 02 00 00 FF 00", 1, 1)]
    [InlineData("12 00 00 00 FF 04", 5, 2)]
    public void Inquiry_OfAnUnknownPageOrBit_PointsAtIt(string cdb, int fieldByte, int fieldBit)
    {
        using var initiator = new Initiator();
        initiator.AssertInvalidCdb(cdb, fieldByte, fieldBit);
    }

    [Fact]
    public void Vpd_EveryListedPageAnswers_WithItsOwnCodeAndLength()
    {
        foreach (var discardBytes in new[] { 0, 4096 })
        {
            using var initiator = new Initiator(new RamDisk(discardBytes: discardBytes));
            initiator.AssertGood("12 01 00 00 FF 00");
            var listed = initiator.Data[4..].ToArray();
            Assert.Equal(listed.Length, initiator.Data[3]);
            Assert.Equal(listed.Order(), listed);
            Assert.Equal(discardBytes > 0, listed.Contains((byte)0xB2));
            for (var code = 0; code < 256; code++)
            {
                if (!listed.Contains((byte)code))
                {
                    initiator.AssertSense(0x052400, $"12 01 {code:X2} 10 00 00");
                    continue;
                }

                initiator.AssertGood($"12 01 {code:X2} 10 00 00");
                Assert.Equal(0, initiator.Data[0]);
                Assert.Equal(code, initiator.Data[1]);
                Assert.Equal(initiator.Data.Length - 4, BinaryPrimitives.ReadUInt16BigEndian(initiator.Data[2..]));
            }
        }
    }

    [Theory]
    [InlineData("86", 0x3C)]
    [InlineData("87", 4)]
    [InlineData("B0", 0x3C)]
    [InlineData("B1", 0x3C)]
    [InlineData("B2", 4)]
    public void Vpd_PagesHaveTheLengthOfTheStandard(string page, int length)
    {
        using var initiator = new Initiator();
        initiator.AssertGood($"12 01 {page} 10 00 00");
        Assert.Equal(length, initiator.Data[3]);
    }

    [Fact]
    public void Vpd80_IsTheDiskIdInHexadecimal()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 80 00 FF 00");
        Assert.Equal("0b8e9fcc7d4b4d0a9c531f0b6a0e7a11", Encoding.ASCII.GetString(initiator.Data[4..]));
    }

    [Fact]
    public void Vpd83_HasWellFormedDesignatorsOfUnitAndPort()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 83 02 00 00");
        var rest = initiator.Data[4..];
        var seen = new List<string>();
        while (!rest.IsEmpty)
        {
            var body = rest.Slice(4, rest[3]);
            var text = (rest[0] & 0xF) == 1 ? Convert.ToHexString(body) : Encoding.UTF8.GetString(body).TrimEnd('\0');
            seen.Add($"{rest[0]:X2} {rest[1]:X2} {text}");
            Assert.True((rest[1] & 0xF) != 8 || body.Length % 4 == 0);
            rest = rest[(4 + rest[3])..];
        }

        var naa = Convert.ToHexString(initiator.Unit.Identity.Naa);
        Assert.Equal(
            [
                "01 03 " + naa, "02 01 COWSCSI 0b8e9fcc7d4b4d0a9c531f0b6a0e7a11",
                "01 02 " + Convert.ToHexString(initiator.Unit.Identity.Eui64), "03 08 naa." + naa,
                "51 94 00000001", "51 95 00000001", "53 98 " + Initiator.PortName, "53 A8 iqn.2026-01.org.cowscsi:test",
            ],
            seen);
    }

    [Fact]
    public void Eui64_IsMarkedAsAssignedLocally_AndToOneUnit()
    {
        for (var i = 0; i < 64; i++)
        {
            var eui64 = LogicalUnitIdentity.FromDisk(new Guid(i, 0, 0, new byte[8]), "d").Eui64;
            Assert.Equal(0x02, eui64[0] & 0x03);
        }
    }

    [Fact]
    public void Vpd85_ListsNoManagementAddress()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 85 00 FF 00");
        Assert.Equal([0, 0x85, 0, 0], initiator.Data.ToArray());
    }

    [Fact]
    public void Vpd88_NamesEveryTargetPort_AndInquirySaysWhetherThereAreSeveral()
    {
        using var initiator = new Initiator();
        var second = new ScsiTarget("iqn.2026-01.org.cowscsi:b,t,0x0002", 0x102);
        Assert.True(second.TryAddLun(5, initiator.Unit));
        Assert.True(second.TryAddLun(6, initiator.Unit));
        initiator.AssertGood("12 01 88 04 00 00");
        byte[] first = [0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0x2C, 0x53, 0x98, 0, 0x28, .. Encoding.UTF8.GetBytes(Initiator.PortName), 0, 0, 0];
        byte[] other = [0, 0, 1, 2, 0, 0, 0, 0, 0, 0, 0, 0x28, 0x53, 0x98, 0, 0x24, .. "iqn.2026-01.org.cowscsi:b,t,0x0002"u8, 0, 0];
        Assert.Equal([0, 0x88, 0, (byte)(first.Length + other.Length), .. first, .. other], initiator.Data.ToArray());
        initiator.AssertGood("12 00 00 00 24 00");
        Assert.Equal(0x10, initiator.Data[6]);
        Assert.True(second.RemoveLun(5));
        initiator.AssertGood("12 00 00 00 24 00");
        Assert.Equal(0x10, initiator.Data[6]);
        Assert.True(second.RemoveLun(6));
        initiator.AssertGood("12 00 00 00 24 00");
        Assert.Equal(0, initiator.Data[6]);
    }

    [Fact]
    public void PortThatIsNotISCSI_ClaimsNoProtocol()
    {
        using var disk = new Initiator();
        var local = new ScsiTarget("local");
        Assert.True(local.TryAddLun(0, disk.Unit));
        using var initiator = new Initiator(disk, local, "vm");
        initiator.AssertGood("12 00 00 00 FF 00");
        Assert.Equal(0, BinaryPrimitives.ReadInt16BigEndian(initiator.Data[64..]));
        initiator.AssertGood("12 01 83 02 00 00");
        Assert.Equal(Initiator.Hex("01 14 00 04 00 00 00 01 01 15 00 04 00 00 00 01 03 18 00 08 6C6F63616C000000 03 28 00 08 6C6F63616C000000"), initiator.Data[^40..].ToArray());
    }

    [Fact]
    public void VpdB0_LimitsAreThoseOfTheGeometry()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 B0 00 FF 00");
        Assert.Equal(
            Initiator.Hex(
                "00 B0 00 3C 00 FF 00 80 00 01 00 00 00 00 00 00 00 01 00 00 FF FF FF FF 00 00 04 00 00 00 00 08 80 00 00 00" +
                "00 00 00 00 00 00 00 00 00 00 02 00 00 00 00 08 00 00 00 08 00 00 02 00 00 00 02 00"),
            initiator.Data.ToArray());
    }

    [Fact]
    public void VpdB1_DoesNotRotate()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 B1 00 FF 00");
        Assert.Equal([0, 0xB1, 0, 0x3C, 0, 1, 0, 0], initiator.Data[..8].ToArray());
    }

    [Fact]
    public void VpdB2_IsThinAndReadsZeros()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("12 01 B2 00 FF 00");
        Assert.Equal([0, 0xB2, 0, 4, 11, 0xE4, 2, 0], initiator.Data.ToArray());
    }

    [Theory]
    [InlineData(2048, 512, "000007FF 00000200")]
    [InlineData(1024, 4096, "000003FF 00001000")]
    public void ReadCapacity10_GivesLastLbaAndBlockLength(int blocks, int blockBytes, string expected)
    {
        using var initiator = new Initiator(new RamDisk(blocks, blockBytes));
        initiator.AssertGood("25 00 00 00 00 00 00 00 00 00");
        Assert.Equal(Initiator.Hex(expected), initiator.Data.ToArray());
    }

    [Fact]
    public void ReadCapacity16_GivesPhysicalExponentAndProvisioning()
    {
        using var initiator = new Initiator();
        initiator.AssertGood("9E 10 00 00 00 00 00 00 00 00 00 00 00 20 00 00");
        Assert.Equal(
            Initiator.Hex("00 00 00 00 00 00 07 FF 00 00 02 00 00 03 C0 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00 00"),
            initiator.Data.ToArray());
        initiator.AssertGood("9E 10 00 00 00 00 00 00 00 00 00 00 00 0C 00 00");
        Assert.Equal(12, initiator.Data.Length);
    }

    [Fact]
    public void Capacity_AfterAResize_IsToldOncePerNexus()
    {
        using var initiator = new Initiator();
        using var other = new Initiator(initiator, "iqn.1993-08.org.debian:b,i,0x2");
        initiator.Disk.Resize(4096);
        initiator.AssertSense(0x062A09, "00 00 00 00 00 00");
        initiator.AssertGood("25 00 00 00 00 00 00 00 00 00");
        Assert.Equal(0x0F, initiator.Data[2]);
        other.AssertSense(0x062A09, "28 00 00 00 00 00 00 00 01 00");
        other.AssertGood("28 00 00 00 0F FF 00 00 01 00");
    }

    [Fact]
    public void Identity_IsStableForADiskAndDiffersBetweenDisks()
    {
        var id = Guid.Parse("0b8e9fcc-7d4b-4d0a-9c53-1f0b6a0e7a11");
        var first = LogicalUnitIdentity.FromDisk(id, "a");
        var renamed = LogicalUnitIdentity.FromDisk(id, "another name, longer than the field");
        Assert.Equal(Convert.ToHexString(first.Naa), Convert.ToHexString(renamed.Naa));
        Assert.Equal(first.SerialNumber.ToArray(), renamed.SerialNumber.ToArray());
        Assert.Equal(3, first.Naa[0] >> 4);
        var seen = new HashSet<string>(StringComparer.Ordinal);
        for (var bit = 0; bit < 128; bit++)
        {
            var bytes = id.ToByteArray();
            bytes[bit / 8] ^= (byte)(1 << (bit % 8));
            Assert.True(seen.Add(Convert.ToHexString(LogicalUnitIdentity.FromDisk(new Guid(bytes), "a").Naa)));
        }

        Assert.DoesNotContain(Convert.ToHexString(first.Naa), seen);
    }

    [Theory]
    [InlineData("")]
    [InlineData("ümlaut / slash")]
    [InlineData("x")]
    public void Identity_TakesAnyDiskName(string name)
    {
        var product = LogicalUnitIdentity.FromDisk(Guid.Empty, name).Product;
        Assert.Equal(16, product.Length);
        Assert.DoesNotContain(product.ToArray(), b => b is < 0x20 or > 0x7E);
    }
}
