using CowScsi.Vdisk.Serving;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

public sealed class PortalTests
{
    [Theory]
    [InlineData("127.0.0.1:3260", "127.0.0.1", 3260)]
    [InlineData("127.0.0.1", "127.0.0.1", 3260)]
    [InlineData("[::1]:860", "::1", 860)]
    [InlineData("[::1]", "::1", 3260)]
    [InlineData("localhost:0", "localhost", 0)]
    [InlineData("storage-1.example:65535", "storage-1.example", 65535)]
    public void Portal_IsHostAndPort(string text, string host, int port)
    {
        Assert.True(Portal.TryParse(text, out var portal, out _));
        Assert.Equal(new Portal(host, port), portal);
    }

    [Theory]
    [InlineData("")]
    [InlineData(":3260")]
    [InlineData("::1:3260")]
    [InlineData("[::1")]
    [InlineData("[127.0.0.1]:1")]
    [InlineData("host:")]
    [InlineData("host:65536")]
    [InlineData("host:-1")]
    [InlineData("host: 1")]
    [InlineData("ho st:1")]
    [InlineData("http://host:1")]
    public void AnythingElse_IsRefused(string text)
    {
        Assert.False(Portal.TryParse(text, out _, out var error));
        Assert.Contains("HOST:PORT", error, StringComparison.Ordinal);
    }

    [Theory]
    [InlineData("[::1]:3260")]
    [InlineData("127.0.0.1:3260")]
    public void Portal_IsWrittenAsItIsRead(string text)
    {
        Assert.True(Portal.TryParse(text, out var portal, out _));
        Assert.Equal(text, portal.ToString());
    }
}
