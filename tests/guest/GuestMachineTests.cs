using Xunit;

namespace CowScsi.Tests.Guest;

/// <summary>That the guest is one: a kernel of its own, this machine's files, and nothing of what it does to them.</summary>
public sealed class GuestMachineTests
{
    [SkippableFact]
    public async Task Guest_SeesThisMachinesFiles_AndLeavesThemAsTheyAre()
    {
        GuestMachine.SkipWhereThereIsNone();
        var share = Directory.CreateTempSubdirectory("vdisk-guest-test-").FullName;
        try
        {
            var beside = Path.Combine(GuestMachine.Root, "tests/guest/written-in-the-guest");
            await using var guest = await GuestMachine.StartAsync(new GuestOptions { Limit = TimeSpan.FromSeconds(150), Share = share });
            Assert.Equal(File.ReadAllText(Path.Combine(GuestMachine.Root, "Makefile")).TrimEnd(), (await guest.DoAsync($"cat {GuestMachine.Root}/Makefile")).TrimEnd());
            await guest.DoAsync($"echo gone >{beside}; echo stays >{share}/file; sync");
            Assert.Equal("gone", await guest.DoAsync($"cat {beside}"));
            Assert.False(File.Exists(beside));
            Assert.Equal("stays\n", File.ReadAllText(Path.Combine(share, "file")));
            Assert.Equal((7, "out\nerr"), await guest.RunAsync("echo out; echo err >&2; exit 7"));
        }
        finally
        {
            Directory.Delete(share, recursive: true);
        }
    }
}
