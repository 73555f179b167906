using CowScsi.Engine;
using System.Text;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

public sealed class PduTests
{
    // RFC 3720, B.4: the worked examples, digests as they travel.
    [Theory]
    [InlineData("0000000000000000000000000000000000000000000000000000000000000000", "AA36918A")]
    [InlineData("FFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFFF", "43ABA862")]
    [InlineData("000102030405060708090A0B0C0D0E0F101112131415161718191A1B1C1D1E1F", "4E79DD46")]
    [InlineData("1F1E1D1C1B1A191817161514131211100F0E0D0C0B0A09080706050403020100", "5CDB3F11")]
    [InlineData("01C000000000000000000000000000001400000000000400000000140000001828000000000000000200000000000000", "563A96D9")]
    public void Crc32C_MatchesTheExamplesOfTheRfc(string data, string digest)
    {
        var actual = Crc32C.Of(Convert.FromHexString(data));
        Assert.Equal(digest, Convert.ToHexString(BitConverter.GetBytes(actual)));
    }

    [Fact]
    public void Crc32C_InPiecesIsCrc32COfTheWhole()
    {
        var data = Encoding.ASCII.GetBytes("The quick brown fox jumps over the lazy dog");
        for (var cut = 0; cut <= data.Length; cut++)
            Assert.Equal(Crc32C.Of(data), Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Initial, data.AsSpan(0, cut)), data.AsSpan(cut))));
    }

    [Theory]
    [InlineData(4079)]
    [InlineData(4080)]
    [InlineData(4096)]
    [InlineData(100_003)]
    public void Crc32C_OfLongDataIsThatOfItsBytesOneByOne(int length)
    {
        var data = TestInitiator.Pattern(length, length);
        var state = Crc32C.Initial;
        foreach (var value in data)
            state = Crc32C.Append(state, [value]);
        Assert.Equal(Crc32C.Finish(state), Crc32C.Of(data));
        Assert.Equal(Crc32C.Finish(state), Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Initial, data.AsSpan(0, 7)), data.AsSpan(7))));
    }

    [Fact]
    public void Header_ReadsAReadCommand()
    {
        var header = new PduHeader(Convert.FromHexString(
            "41C2000001001000" + "0001020304050607" + "A1A2A3A4" + "00002000" + "B1B2B3B4" + "C1C2C3C4" + "28000000123400000800000000000000"));

        Assert.Equal(Opcode.ScsiCommand, header.Opcode);
        Assert.True(header.IsImmediate);
        Assert.True(header.IsFinal);
        Assert.Equal(4, header.AhsBytes);
        Assert.Equal(0x1000, header.DataBytes);
        Assert.Equal(0x0001020304050607ul, header.Lun);
        Assert.Equal(0xA1A2A3A4, header.InitiatorTaskTag);
        Assert.Equal(0x2000u, header.ExpectedDataTransferLength);
        Assert.Equal(0xB1B2B3B4, header.CmdSN);
        Assert.Equal(0xC1C2C3C4, header.ExpStatSN);
        Assert.Equal(0x28, header.Cdb[0]);
    }

    [Fact]
    public void Header_ReadsALoginRequest()
    {
        var header = new PduHeader(Convert.FromHexString(
            "43870000" + "00000010" + "80123456789A" + "BCDE" + "00000007" + "00050000" + "00000001" + "00000002" + new string('0', 32)));

        Assert.Equal(Opcode.LoginRequest, header.Opcode);
        Assert.Equal(0x80123456789Aul, header.Isid);
        Assert.Equal(0xBCDE, header.Tsih);
        Assert.Equal(5, header.ConnectionId);
        Assert.Equal(16, header.DataBytes);
    }

    [Fact]
    public void Writer_MakesAScsiResponse()
    {
        var bytes = new byte[48];
        Array.Fill(bytes, (byte)0xEE);
        var writer = new PduHeaderWriter(bytes, Opcode.ScsiResponse, PduField.FinalBit | PduField.ResidualUnderflowBit, 0x01020304);
        writer.DataBytes(0x0A0B0C);
        writer.Byte(PduField.Byte3, 2);
        writer.Sequence(0x11121314, 0x21222324, 0x31323334);
        writer.UInt32(PduField.ResidualCount, 0x41424344);

        Assert.Equal(
            "21820002000A0B0C" + "0000000000000000" + "0102030400000000" + "1112131421222324" + "3132333400000000" + "0000000041424344",
            Convert.ToHexString(bytes));
    }

    [Theory]
    [InlineData(0, 0)]
    [InlineData(1, 3)]
    [InlineData(2, 2)]
    [InlineData(3, 1)]
    [InlineData(4, 0)]
    [InlineData(513, 3)]
    public void Padding_FillsToFourBytes(int length, int padding) => Assert.Equal(padding, PduField.Padding(length));
}
