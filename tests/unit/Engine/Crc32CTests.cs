using System.Text;
using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Both ways of taking a checksum give that of the standard, for every length and place.</summary>
public sealed class Crc32CTests
{
    private const int LengthMax = 3 * 4096;

    /// <summary>RFC 3720, B.4, and the polynomial's usual check value.</summary>
    [Theory]
    [InlineData("123456789", 0xE306_9283u)]
    [InlineData("\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0", 0x8A91_36AAu)]
    [InlineData("ÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿÿ", 0x62A8_AB43u)]
    public void KnownData_HaveTheirChecksum(string text, uint checksum)
    {
        var data = Encoding.Latin1.GetBytes(text);
        Assert.Equal(checksum, Crc32C.Of(data));
        Assert.Equal(checksum, Crc32C.Finish(Crc32C.AppendByInstruction(Crc32C.Initial, data)));
        Assert.Equal(checksum, Crc32C.Finish(Crc32CTables.Append(Crc32C.Initial, data)));
    }

    [Fact]
    public void TablesAndInstruction_Agree()
    {
        var random = new Random(7);
        var data = new byte[LengthMax + 16];
        random.NextBytes(data);
        for (var length = 0; length <= LengthMax; length += length < 64 ? 1 : random.Next(1, 200))
        {
            var part = data.AsSpan(length % 16, length);
            var state = (uint)random.NextInt64(1L << 32);
            Assert.Equal(Crc32C.AppendByInstruction(state, part), Crc32CTables.Append(state, part));
        }
    }
}
