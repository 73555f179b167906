using CowScsi.Tcmu.Netlink;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>Generic netlink, byte by byte, and with the running kernel as far as every Linux has it.</summary>
public sealed class NetlinkTests
{
    /// <summary>TCMU_CMD_RECONFIG_DEVICE for a size of 96 MiB, as Linux sends it.</summary>
    private static readonly byte[] Reconfigured =
    [
        84, 0, 0, 0, 0x22, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr: 84 bytes, family 0x22
        3, 2, 0, 0, // genlmsghdr: RECONFIG_DEVICE, version 2
        25, 0, 1, 0, .. "tcm-user/7310/d/cows"u8, 0, 0, 0, 0, // TCMU_ATTR_DEVICE, with the end of the string and padding
        8, 0, 2, 0, 5, 0, 0, 0, // TCMU_ATTR_MINOR
        8, 0, 8, 0, 1, 0, 0, 0, // TCMU_ATTR_DEVICE_ID
        4, 0, 3, 0, // TCMU_ATTR_PAD
        12, 0, 5, 0, 0, 0, 0, 6, 0, 0, 0, 0, // TCMU_ATTR_DEV_SIZE
        0, 0, 0, 0, // what follows the message
    ];

    [Fact]
    public void Reconfiguration_IsRead()
    {
        ReadOnlySpan<byte> received = Reconfigured;
        Assert.True(NetlinkMessage.TryTake(ref received, out var type, out var body));
        Assert.Equal(0x22, type);
        var told = KernelEvent.Read(body);
        Assert.NotNull(told);
        Assert.Equal((KernelEventKind.Reconfigured, "tcm-user/7310/d/cows", 96UL << 20), (told.Kind, told.Device, told.SizeBytes));
        Assert.Equal(1U, told.DeviceId);
        Assert.Null(told.WriteCache);
        Assert.Null(told.Config);
        Assert.False(NetlinkMessage.TryTake(ref received, out _, out _));
    }

    [Fact]
    public void Reply_NamesTheDeviceAndHowItWent()
    {
        Assert.Equal(
            [
                36, 0, 0, 0, 0x22, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0, 0, // nlmsghdr: 36 bytes, family 0x22, a request
                6, 2, 0, 0, // genlmsghdr: RECONFIG_DEVICE_DONE, version 2
                8, 0, 7, 0, 0xEA, 0xFF, 0xFF, 0xFF, // TCMU_ATTR_CMD_STATUS: -EINVAL
                8, 0, 8, 0, 5, 0, 0, 0, // TCMU_ATTR_DEVICE_ID
            ],
            KernelEvents.ReplyTo(0x22, KernelEventKind.Reconfigured, 5, -22));
    }

    [Fact]
    public void MessageThatIsCutAnywhere_IsNoneOrLess()
    {
        for (var length = 0; length < 84; length++)
        {
            ReadOnlySpan<byte> received = Reconfigured.AsSpan(0, length);
            Assert.False(NetlinkMessage.TryTake(ref received, out _, out _));
            var body = Reconfigured.AsSpan(16, Math.Max(0, length - 16));
            if (KernelEvent.Read(body) is { } told)
                Assert.Equal("tcm-user/7310/d/cows", told.Device);
        }
    }

    [Theory]
    [InlineData(0)]
    [InlineData(3)]
    [InlineData(255)]
    public void AttributeOfImpossibleLength_EndsTheList(byte length)
    {
        ReadOnlySpan<byte> attributes = [length, 0, 1, 0, 1, 2, 3, 4];
        Assert.False(NetlinkMessage.TryTakeAttribute(ref attributes, out _, out _));
    }

    [Fact]
    public void Family_IsFoundByItsName()
    {
        using var netlink = GenericNetlink.Open("nlctrl", "notify");
        Assert.Equal(16, netlink.Family);
        Assert.True(netlink.Receive(out var isOverrun).IsEmpty);
        Assert.False(isOverrun);
    }

    [Fact]
    public void FamilyThatTheKernelHasNot_IsNamed()
    {
        var refusal = Assert.Throws<IOException>(() => GenericNetlink.Open("no-such-family", null));
        Assert.Contains("no-such-family", refusal.Message, StringComparison.Ordinal);
    }
}
