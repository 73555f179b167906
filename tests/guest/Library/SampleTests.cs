using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.Library;

/// <summary>A sample as a disk of the kernel's: a program with a disk and commands of its own, and nothing else of ours.</summary>
public sealed class SampleTests(ITestOutputHelper output)
{
    private const int LimitSeconds = 600;

    [SkippableFact]
    public async Task Sample_IsADiskOfTheKernels_WithCommandsOfItsOwn()
    {
        GuestMachine.SkipWhereThereIsNone();
        // Built with these tests, in the same configuration: bin/CONFIGURATION/FRAMEWORK.
        var framework = new DirectoryInfo(AppContext.BaseDirectory.TrimEnd('/'));
        var program = Path.Combine(GuestMachine.Root, "samples/custom-command/bin", framework.Parent!.Name, framework.Name, "custom-command.dll");
        Assert.True(File.Exists(program), program + " is not there: build CowScsi.sln");
        await using var guest = await GuestMachine.StartAsync(new GuestOptions
        {
            Limit = TimeSpan.FromSeconds(LimitSeconds),
            Modules = ["target_core_user", "tcm_loop", "sd_mod", "sg"],
        });
        await guest.DoAsync(
            "{ bash -c 'echo $$ >/run/sample.pid; exec dotnet " + program + " tcmu' >/run/sample.out 2>/run/sample.err; echo $? >/run/sample.status; } </dev/null >/dev/null 2>&1 &");
        await guest.DoAsync("until [ -s /run/sample.out ]; do [ -s /run/sample.status ] && { cat /run/sample.err; exit 1; }; sleep 0.1; done");
        var path = (await guest.DoAsync("cat /run/sample.out")).Trim();
        Assert.Matches("^/dev/sd[a-z]+$", path);
        output.WriteLine(await guest.DoAsync("lsscsi"));
        Assert.Contains("custom-command", await guest.DoAsync($"sg_inq {path}"), StringComparison.Ordinal);
        await guest.DoAsync(
            $"head -c 1048576 /dev/urandom >/run/content && dd if=/run/content of={path} bs=64k oflag=direct status=none && " +
            $"blockdev --flushbufs {path} && cmp -n 1048576 /run/content {path}");

        await guest.DoAsync($"printf 'rack 7' | sg_raw -s 6 {path} c2 00 00 00 06 00");
        var answer = await guest.DoAsync($"sg_raw -r 64 {path} c1 00 00 00 40 00 2>&1");
        output.WriteLine(answer);
        Assert.Contains("rack 7", answer, StringComparison.Ordinal);
        var (status, refusal) = await guest.RunAsync($"printf 'rack 8' | sg_raw -s 6 {path} c2 00 00 00 41 00 2>&1"); // longer than a label is
        Assert.NotEqual(0, status);
        output.WriteLine(refusal);
        Assert.Contains("Invalid field in cdb", refusal, StringComparison.OrdinalIgnoreCase);
        Assert.Matches("(?m)^ *c2 ", await guest.DoAsync($"sg_opcodes {path} 2>&1"));

        await guest.DoAsync("kill -TERM $(cat /run/sample.pid); until [ -s /run/sample.status ]; do sleep 0.1; done");
        Assert.Equal("0", (await guest.DoAsync("cat /run/sample.status")).Trim());
        Assert.Equal("", await guest.DoAsync("cat /run/sample.err"));
        await guest.DoAsync($"[ ! -e {path} ]");
        Assert.DoesNotContain("naa.", await guest.DoAsync("ls /sys/kernel/config/target/loopback"), StringComparison.Ordinal);
    }
}
