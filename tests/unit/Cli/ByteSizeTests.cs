using CowScsi.Vdisk.Text;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

public sealed class ByteSizeTests
{
    [Theory]
    [InlineData("20GiB", 20L << 30)]
    [InlineData("512MiB", 512L << 20)]
    [InlineData("4096B", 4096)]
    [InlineData("1.5GiB", 3L << 29)]
    [InlineData("20GB", 20_000_000_000)]
    [InlineData("20gb", 20_000_000_000)]
    [InlineData("20gib", 20L << 30)]
    [InlineData("20G", 20L << 30)]
    [InlineData("64 TiB", 64L << 40)]
    [InlineData("1PiB", 1L << 50)]
    [InlineData("1KB", 1000)]
    [InlineData("0.5KiB", 512)]
    public void SizeWithUnit_IsRead(string text, long expected)
    {
        Assert.True(ByteSize.TryParse(text, out var bytes, out _));
        Assert.Equal(expected, bytes);
    }

    [Theory]
    [InlineData("20", "needs a unit")]
    [InlineData("", "is not a size")]
    [InlineData("GiB", "is not a size")]
    [InlineData("-1GiB", "is not a size")]
    [InlineData("+1GiB", "is not a size")]
    [InlineData("1,5GiB", "is not a unit")]
    [InlineData("1.2.3GiB", "is not a size")]
    [InlineData("1e3GiB", "is not a unit")]
    [InlineData("20XB", "is not a unit")]
    [InlineData("20GiBs", "is not a unit")]
    [InlineData("0GiB", "zero")]
    [InlineData("0.1B", "whole number")]
    [InlineData("9000000PiB", "too large")]
    [InlineData("99999999999999999999999999999999999999GiB", "is not a size")]
    public void AnythingElse_IsRefusedWithTheReason(string text, string reason)
    {
        Assert.False(ByteSize.TryParse(text, out _, out var error));
        Assert.Contains(reason, error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(0, "0 B")]
    [InlineData(512, "512 B")]
    [InlineData(1024, "1 KiB")]
    [InlineData(20L << 30, "20 GiB")]
    [InlineData(3L << 29, "1.50 GiB")]
    [InlineData((10L << 30) + (1L << 29), "10.5 GiB")]
    [InlineData((100L << 30) + (1L << 29), "101 GiB")]
    [InlineData((1L << 40) - 1, "1.00 TiB")]
    [InlineData(64L << 40, "64 TiB")]
    [InlineData(long.MaxValue, "8.00 EiB")]
    public void Output_IsBinaryWithThreeDigits(long bytes, string expected) => Assert.Equal(expected, ByteSize.Format(bytes));
}
