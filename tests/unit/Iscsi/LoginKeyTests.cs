using CowScsi.Iscsi.Login;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

public sealed class LoginKeyTests
{
    private static readonly TargetOffer Offer =
        new(1, InitialR2T: false, ImmediateData: true, 262144, 1048576, 131072, 8, Digests: true, DigestsRequired: false);

    [Theory]
    [InlineData("HeaderDigest", "None", "None")]
    [InlineData("HeaderDigest", "CRC32C,None", "CRC32C")]
    [InlineData("HeaderDigest", "X-md5,None,CRC32C", "None")]
    [InlineData("HeaderDigest", "X-md5", "Reject")]
    [InlineData("HeaderDigest", "", "Reject")]
    [InlineData("DataDigest", "CRC32C", "CRC32C")]
    [InlineData("MaxConnections", "8", "1")]
    [InlineData("MaxConnections", "0", "Reject")]
    [InlineData("MaxConnections", "65536", "Reject")]
    [InlineData("InitialR2T", "Yes", "Yes")]
    [InlineData("InitialR2T", "No", "No")]
    [InlineData("InitialR2T", "yes", "Reject")]
    [InlineData("ImmediateData", "Yes", "Yes")]
    [InlineData("ImmediateData", "No", "No")]
    [InlineData("ImmediateData", "1", "Reject")]
    [InlineData("MaxRecvDataSegmentLength", "65536", null)]
    [InlineData("MaxRecvDataSegmentLength", "511", "Reject")]
    [InlineData("MaxRecvDataSegmentLength", "16777216", "Reject")]
    [InlineData("MaxBurstLength", "0x10000", "65536")]
    [InlineData("MaxBurstLength", "16776192", "1048576")]
    [InlineData("MaxBurstLength", "511", "Reject")]
    [InlineData("MaxBurstLength", "-1", "Reject")]
    [InlineData("MaxBurstLength", "4294967296", "Reject")]
    [InlineData("MaxBurstLength", "", "Reject")]
    [InlineData("FirstBurstLength", "65536", "65536")]
    [InlineData("FirstBurstLength", "262144", "131072")]
    [InlineData("FirstBurstLength", " 65536", "Reject")]
    [InlineData("DefaultTime2Wait", "0", "2")]
    [InlineData("DefaultTime2Wait", "3601", "Reject")]
    [InlineData("DefaultTime2Retain", "20", "0")]
    [InlineData("MaxOutstandingR2T", "65535", "8")]
    [InlineData("MaxOutstandingR2T", "0", "Reject")]
    [InlineData("DataPDUInOrder", "No", "Yes")]
    [InlineData("DataSequenceInOrder", "No", "Yes")]
    [InlineData("ErrorRecoveryLevel", "2", "0")]
    [InlineData("ErrorRecoveryLevel", "3", "Reject")]
    [InlineData("iSCSIProtocolLevel", "2", "2")]
    [InlineData("iSCSIProtocolLevel", "1", "1")]
    [InlineData("iSCSIProtocolLevel", "32", "Reject")]
    [InlineData("TaskReporting", "FastAbort,ResponseFence,RFC3720", "RFC3720")]
    [InlineData("TaskReporting", "FastAbort", "Reject")]
    [InlineData("IFMarker", "No", "No")]
    [InlineData("OFMarker", "Yes", "No")]
    [InlineData("IFMarkInt", "1~65535", "Reject")]
    public void Negotiate_AnswersAsTheTableSays(string name, string value, string? answer)
    {
        var key = LoginKey.Find(name);
        Assert.NotNull(key);
        Assert.Equal(answer, key.Negotiate(value, Offer, new SessionParameters()));
    }

    [Fact]
    public void Negotiate_KeepsTheResult()
    {
        var parameters = new SessionParameters();
        foreach (var (name, value) in new[]
                 {
                     ("HeaderDigest", "CRC32C"), ("DataDigest", "None"), ("InitialR2T", "No"), ("ImmediateData", "No"),
                     ("MaxRecvDataSegmentLength", "4096"), ("MaxBurstLength", "8192"), ("FirstBurstLength", "1024"),
                     ("MaxOutstandingR2T", "3"),
                 })
            LoginKey.Find(name)!.Negotiate(value, Offer, parameters);

        Assert.True(parameters.HasHeaderDigest);
        Assert.False(parameters.HasDataDigest);
        Assert.False(parameters.InitialR2T);
        Assert.False(parameters.ImmediateData);
        Assert.Equal(4096, parameters.InitiatorDataBytesMax);
        Assert.Equal(8192, parameters.MaxBurstBytes);
        Assert.Equal(1024, parameters.FirstBurstBytes);
        Assert.Equal(3, parameters.MaxOutstandingR2T);
    }

    [Fact]
    public void Negotiate_RejectedValueChangesNothing()
    {
        var parameters = new SessionParameters();
        Assert.Equal("Reject", LoginKey.Find("MaxBurstLength")!.Negotiate("5", Offer, parameters));
        Assert.Equal(262144, parameters.MaxBurstBytes);
    }

    [Fact]
    public void Negotiate_DiscoveryMakesSessionKeysIrrelevant()
    {
        var parameters = new SessionParameters { IsDiscovery = true };
        Assert.Equal("Irrelevant", LoginKey.Find("MaxBurstLength")!.Negotiate("65536", Offer, parameters));
        Assert.Equal("CRC32C", LoginKey.Find("HeaderDigest")!.Negotiate("CRC32C", Offer, parameters));
    }

    [Fact]
    public void Negotiate_RequiredDigestRefusesNone()
    {
        var strict = Offer with { DigestsRequired = true };
        Assert.Equal("Reject", LoginKey.Find("DataDigest")!.Negotiate("None", strict, new SessionParameters()));
        Assert.Equal("CRC32C", LoginKey.Find("DataDigest")!.Negotiate("None,CRC32C", strict, new SessionParameters()));
    }

    [Theory]
    [InlineData("a=b\0c=d\0", 2)]
    [InlineData("a=\0", 1)]
    [InlineData("\0\0a=b\0", 1)]
    [InlineData("", 0)]
    [InlineData("a=b=c\0", 1)]
    [InlineData("a=b", -1)]
    [InlineData("=b\0", -1)]
    [InlineData("ab\0", -1)]
    [InlineData("a b=c\0", -1)]
    [InlineData("a=\u0001\0", -1)]
    public void Text_IsParsedOrRefused(string text, int pairs)
    {
        List<TextPair> parsed = [];
        var isText = TextKeys.TryParse(System.Text.Encoding.UTF8.GetBytes(text), parsed);
        Assert.Equal(pairs >= 0, isText);
        if (isText)
            Assert.Equal(pairs, parsed.Count);
    }

    [Fact]
    public void Text_WithTooManyKeysOrTooLongNamesIsRefused()
    {
        string[] many = [.. Enumerable.Range(0, TextKeys.PairsMax + 1).Select(static i => $"k{i}=v")];
        Assert.False(TextKeys.TryParse(TestInitiator.Text(many), []));
        Assert.False(TextKeys.TryParse(TestInitiator.Text(new string('k', TextKeys.KeyBytesMax + 1) + "=v"), []));
        Assert.False(TextKeys.TryParse(TestInitiator.Text("k=" + new string('v', TextKeys.ValueBytesMax + 1)), []));
    }

    [Theory]
    [InlineData("iqn.2026-01.com.example:disk1", true)]
    [InlineData("eui.02004567A425678D", true)]
    [InlineData("naa.52004567BA64678D", true)]
    [InlineData("iqn.", false)]
    [InlineData("disk1", false)]
    [InlineData("iqn.2026-01.com.example:a/b", false)]
    [InlineData("iqn.2026-01.com.example:a b", false)]
    public void Name_IsOneOfTheThreeTypes(string name, bool isValid) => Assert.Equal(isValid, IscsiName.IsValid(name));
}
