using System.Net.Sockets;
using CowScsi.VhostUser;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>Messages that break the protocol: one line, the connection closed, the next front end served.</summary>
public sealed class MessageTests
{
    [Fact]
    public async Task EveryMessage_OfAWrongSize_IsRefused()
    {
        await using var backEnd = TestBackEnd.Blk();
        foreach (var rule in MessageRule.All)
        {
            if (rule.PayloadBytesMin > 0)
                await Refused(backEnd, (uint)rule.Message, new byte[rule.PayloadBytesMin - 1], rule.DescriptorsMin, "payload of");
            await Refused(backEnd, (uint)rule.Message, new byte[rule.PayloadBytesMax + 1], rule.DescriptorsMin, "payload of");
        }
    }

    [Fact]
    public async Task EveryMessage_WithAWrongNumberOfDescriptors_IsRefused()
    {
        await using var backEnd = TestBackEnd.Blk();
        foreach (var rule in MessageRule.All)
        {
            if (rule.DescriptorsMin > 0)
                await Refused(backEnd, (uint)rule.Message, new byte[rule.PayloadBytesMin], rule.DescriptorsMin - 1, "descriptor(s)");
            await Refused(backEnd, (uint)rule.Message, new byte[rule.PayloadBytesMin], rule.DescriptorsMax + 1, rule.DescriptorsMax == 8 ? "with more than 8 descriptors" : "descriptor(s)");
        }
    }

    [Fact]
    public async Task EveryMessage_ThatNeedsAProtocolFeature_IsRefusedWithout()
    {
        await using var backEnd = TestBackEnd.Blk();
        foreach (var rule in MessageRule.All.Where(static rule => rule.Needs != 0))
            await Refused(backEnd, (uint)rule.Message, new byte[rule.PayloadBytesMin], rule.DescriptorsMin, "was not negotiated", negotiates: false);
    }

    [Theory]
    [InlineData(0u)]
    [InlineData(19u)]
    [InlineData(22u)]
    [InlineData(35u)]
    [InlineData(41u)]
    [InlineData(uint.MaxValue)]
    public async Task UnknownMessage_IsRefused(uint type)
    {
        await using var backEnd = TestBackEnd.Blk();
        await Refused(backEnd, type, [], 0, "is not known");
    }

    [Theory]
    [InlineData(0u, "version 0")]
    [InlineData(2u, "version 2")]
    [InlineData(5u, "marked as a reply")]
    public async Task Header_WithWrongFlags_IsRefused(uint flags, string reason)
    {
        await using var backEnd = TestBackEnd.Blk();
        using var frontEnd = backEnd.Connect();
        frontEnd.Send(1, [], flags: flags);
        AssertRefused(backEnd, frontEnd, reason);
    }

    public static TheoryData<uint, byte[], string> BadContents() => new()
    {
        { 2, TestFrontEnd.Number(1UL << 60), "were not offered" },
        { 16, TestFrontEnd.Number(1UL << 8), "were not offered" },
        { 8, TestFrontEnd.Pair(0, 0), "cannot have 0" },
        { 8, TestFrontEnd.Pair(0, 100), "cannot have 100" },
        { 8, TestFrontEnd.Pair(0, 65536), "cannot have 65536" },
        { 8, TestFrontEnd.Pair(64, 128), "ring 64 of" },
        { 10, TestFrontEnd.Pair(uint.MaxValue, 128), "ring 4294967295 of" },
        { 11, TestFrontEnd.Pair(70, 0), "ring 70 of" },
        { 12, TestFrontEnd.Number(0), "says that it has a descriptor" },
        { 13, TestFrontEnd.Number(0x200), "unknown bits" },
        { 12, TestFrontEnd.Number(0x100), "before its features, size and addresses" },
        { 18, TestFrontEnd.Pair(0, 2), "enabled by 2" },
        { 39, TestFrontEnd.Number(256), "more than eight bits" },
        { 9, [0, 0, 0, 0, 4, 0, 0, 0, .. new byte[32]], "unknown flags" },
        { 9, [0, 0, 0, 0, 0, 0, 0, 0, 8, .. new byte[31]], "not aligned" },
        { 5, [1, 0, 0, 0, 0, 0, 0, 0, .. new byte[32]], "memory table of 1" },
        { 5, [255, 255, 255, 255, 0, 0, 0, 0], "memory table of" },
        { 31, [.. new byte[16], 65, 0, 128, 0], "65 queue(s)" },
        { 31, [.. new byte[16], 1, 0, 0, 0], "of 0" },
        { 38, new byte[40], "there is no memory region" },
    };

    [Theory]
    [MemberData(nameof(BadContents))]
    public async Task Contents_ThatMakeNoSense_AreRefused(uint type, byte[] payload, string reason)
    {
        await using var backEnd = TestBackEnd.Blk();
        await Refused(backEnd, type, payload, 0, reason);
    }

    [Fact]
    public async Task MemoryRegions_ThatOverlapOrLie_AreRefused()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var ram = new GuestRam(1 << 20);
        using var overlap = new GuestRam(1 << 20, GuestRam.GuestBase + 4096, 0x1000);
        using var wraps = new GuestRam(1 << 20, ulong.MaxValue - 0xFFF, 0x1000);
        byte[] longer = [.. new byte[8], .. ram.Describe()[..8], .. BitConverter.GetBytes(2UL << 20), .. ram.Describe()[16..]];
        await RefusedRegion([.. new byte[8], .. overlap.Describe()], overlap.File, "overlaps");
        await RefusedRegion([.. new byte[8], .. wraps.Describe()], wraps.File, "wraps");
        await RefusedRegion(longer, ram.File, "reaches to");
        await RefusedRegion([.. new byte[8], .. ram.Describe(mapOffset: 4096)], ram.File, "reaches to");
        await RefusedRegion([.. new byte[8], .. ram.Describe(mapOffset: 1)], ram.File, "begin with a page");
        await RefusedRegion([.. new byte[8], .. ram.Describe(mapOffset: ulong.MaxValue & ~0xFFFUL)], ram.File, "cannot be mapped");
        using var none = LinuxCall.CreateEvent();
        await RefusedRegion([.. new byte[8], .. ram.Describe()], none, "in a file of 0");

        async Task RefusedRegion(byte[] payload, SafeFileHandle file, string reason)
        {
            using var frontEnd = Negotiated(backEnd);
            frontEnd.SetMemory(ram);
            if (reason is not ("overlaps" or "wraps"))
                frontEnd.Do(5, new byte[8]);
            frontEnd.Send(37, payload, [file]);
            AssertRefused(backEnd, frontEnd, reason);
            await Alive(backEnd);
        }
    }

    [Fact]
    public async Task KickThatIsNoEvent_IsRefused()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var frontEnd = Negotiated(backEnd);
        using var file = LinuxCall.CreateMemory("x", 4096);
        frontEnd.Send(13, TestFrontEnd.Number(0), [file]);
        AssertRefused(backEnd, frontEnd, "no eventfd");
    }

    [Fact]
    public async Task RingOutsideMemory_IsRefused()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var ram = new GuestRam(1 << 20);
        using var frontEnd = Negotiated(backEnd);
        using var kick = LinuxCall.CreateEvent();
        frontEnd.Do(2, TestFrontEnd.Number(1UL << 32));
        frontEnd.SetMemory(ram);
        frontEnd.Do(8, TestFrontEnd.Pair(0, 128));
        var driver = new SplitDriver(ram, GuestRam.GuestBase + (1 << 20) - 4096, 128, hasEventIndex: false);
        frontEnd.Do(9, TestFrontEnd.RingAddress(0, driver));
        frontEnd.Send(12, TestFrontEnd.Number(0), [kick]);
        AssertRefused(backEnd, frontEnd, "does not lie in the guest's memory");
        await Alive(backEnd);
    }

    [Fact]
    public async Task SecondFrontEnd_IsRefused_AndTheFirstGoesOn()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var guest = new BlkGuest(backEnd);
        using var second = backEnd.Connect();
        Assert.True(second.IsClosed());
        Assert.Contains(backEnd.Lines, static line => line.Contains("second front end", StringComparison.Ordinal));
        Assert.Equal(BlkGuest.Ok, guest.Write(0, new byte[512]));
    }

    [Fact]
    public async Task ConnectionThatEndsInAMessage_IsNoted()
    {
        await using var backEnd = TestBackEnd.Blk();
        using (var frontEnd = backEnd.Connect())
            frontEnd.Socket.Send([1, 0, 0]);
        await Alive(backEnd);
        Assert.Contains(backEnd.Lines, static line => line.Contains("middle of a message", StringComparison.Ordinal));
    }

    [Fact]
    public async Task SocketPath_ThatIsServedOrAFile_IsRefused_AndAnAbandonedOneReplaced()
    {
        await using var backEnd = TestBackEnd.Blk();
        using var other = new VirtioBlkDevice(new TestDisk(1 << 20), "x");
        Assert.Contains("served by another", Assert.Throws<IOException>(() => VhostUserServer.Listen(backEnd.Path, other, static _ => { })).Message, StringComparison.Ordinal);
        var file = backEnd.Path + "-file";
        await File.WriteAllTextAsync(file, "precious");
        Assert.Contains("no socket", Assert.Throws<IOException>(() => VhostUserServer.Listen(file, other, static _ => { })).Message, StringComparison.Ordinal);
        Assert.Equal("precious", await File.ReadAllTextAsync(file));
        Assert.Contains("too long", Assert.Throws<IOException>(() => VhostUserServer.Listen(new string('x', 200), other, static _ => { })).Message, StringComparison.Ordinal);

        var abandoned = backEnd.Path + "-old";
        using (var dead = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified))
        {
            // The runtime removes the path that it bound; a process that is killed leaves it.
            dead.Bind(new UnixDomainSocketEndPoint(abandoned + "-bound"));
            File.Move(abandoned + "-bound", abandoned);
        }

        await using var server = VhostUserServer.Listen(abandoned, other, static _ => { });
        using var frontEnd = new TestFrontEnd(abandoned);
        Assert.NotEqual(0ul, frontEnd.AskNumber(1));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(abandoned));
    }

    [Fact]
    public async Task Client_ConnectsAgain_WhenTheFrontEndComesBack()
    {
        var folder = Directory.CreateTempSubdirectory("vhost-");
        var path = Path.Combine(folder.FullName, "listener");
        using var device = new VirtioBlkDevice(new TestDisk(1 << 20), "x");
        await using var server = VhostUserServer.Connect(path, device, static _ => { });
        using var listener = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        listener.Bind(new UnixDomainSocketEndPoint(path));
        listener.Listen(1);
        for (var i = 0; i < 2; i++)
        {
            using var frontEnd = new TestFrontEnd(await listener.AcceptAsync());
            Assert.NotEqual(0ul, frontEnd.AskNumber(1));
        }

        folder.Delete(recursive: true);
    }

    private static TestFrontEnd Negotiated(TestBackEnd backEnd)
    {
        var frontEnd = backEnd.Connect();
        frontEnd.Send(16, TestFrontEnd.Number(TestFrontEnd.AllProtocolFeatures));
        return frontEnd;
    }

    private static async Task Refused(TestBackEnd backEnd, uint type, byte[] payload, int descriptorCount, string reason, bool negotiates = true)
    {
        using var frontEnd = negotiates ? Negotiated(backEnd) : backEnd.Connect();
        var descriptors = new SafeFileHandle[descriptorCount];
        for (var i = 0; i < descriptorCount; i++)
            descriptors[i] = LinuxCall.CreateEvent();
        frontEnd.Send(type, payload, descriptors);
        AssertRefused(backEnd, frontEnd, reason);
        foreach (var descriptor in descriptors)
            descriptor.Dispose();
        await Alive(backEnd);
    }

    private static void AssertRefused(TestBackEnd backEnd, TestFrontEnd frontEnd, string reason)
    {
        Assert.True(frontEnd.IsClosed(), $"still open: {reason}");
        var line = Assert.Single(backEnd.Lines);
        Assert.Contains(reason, line, StringComparison.Ordinal);
        backEnd.Lines.Clear();
    }

    private static Task Alive(TestBackEnd backEnd)
    {
        using var frontEnd = backEnd.Connect();
        Assert.NotEqual(0ul, frontEnd.AskNumber(1));
        return Task.CompletedTask;
    }
}
