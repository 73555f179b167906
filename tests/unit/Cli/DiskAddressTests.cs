using CowScsi.Vdisk.Text;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

public sealed class DiskAddressTests
{
    [Theory]
    [InlineData("pg", "pg", null)]
    [InlineData("pg@before", "pg", "before")]
    [InlineData("a.b_c-1@2026-11-20", "a.b_c-1", "2026-11-20")]
    public void Names_AreTakenApart(string text, string disk, string? snapshot)
    {
        Assert.True(DiskAddress.TryParse(text, out var address, out _));
        Assert.Equal(new DiskAddress(disk, snapshot), address);
        Assert.Equal(text, address.ToString());
    }

    [Theory]
    [InlineData("")]
    [InlineData("@")]
    [InlineData("@snap")]
    [InlineData("pg@")]
    [InlineData("pg@a@b")]
    [InlineData("../x")]
    [InlineData("..")]
    [InlineData(".hidden")]
    [InlineData("-x")]
    [InlineData("a/b")]
    [InlineData("a b")]
    [InlineData("a\nb")]
    [InlineData("a\0b")]
    [InlineData("pg@../x")]
    [InlineData("größe")]
    [InlineData("a%2fb")]
    public void BadNames_AreRefusedInOneLine(string text)
    {
        Assert.False(DiskAddress.TryParse(text, out _, out var error));
        Assert.DoesNotContain(error, c => char.IsControl(c));
    }

    [Fact]
    public void Names_HaveAtMost128Characters()
    {
        Assert.True(DiskAddress.TryParse(new string('a', 128) + "@" + new string('b', 128), out _, out _));
        Assert.False(DiskAddress.TryParse(new string('a', 129), out _, out _));
        Assert.False(DiskAddress.TryParse("a@" + new string('b', 129), out _, out _));
    }

    [Theory]
    [InlineData("pf", "pg")]
    [InlineData("databse", "database")]
    [InlineData("dtaabase", "database")]
    [InlineData("xy", null)]
    [InlineData("something", null)]
    public void Suggestion_IsTheNearestNameWithinTwoSlips(string typed, string? expected) =>
        Assert.Equal(expected, Suggestion.Nearest(typed, ["pg", "database", "web-1"]));
}
