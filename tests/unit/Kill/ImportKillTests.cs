using System.Globalization;
using CowScsi.Tests.Unit.Cli;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>SIGKILL while `vdisk import` fills a disk: afterwards there is the whole disk, or none, and the operator is told.</summary>
public sealed class ImportKillTests(ITestOutputHelper output)
{
    private const int Rounds = 6;
    private const int FileEventsMax = 60;
    private const string Removed = "removed disk 'pg': its import was cut off";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task KilledInTheMiddle_LeavesNoDisk_AndTheNameIsFree(bool isServed)
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "calm", "--size", "1MiB");
        using var server = isServed ? ServerProcess.Start(store.Directory) : null;
        if (server is not null)
            Assert.True(await server.IsReadyAsync(1), "the server does not start");
        using var import = ServerProcess.Launch("import", "-", "pg", "--store", store.Directory);
        // More than the pipe and the import's own buffers hold: when it is written, the disk is there and being filled.
        var piece = new byte[1 << 20];
        Array.Fill(piece, (byte)7);
        for (var i = 0; i < 8; i++)
            await import.StandardInput.BaseStream.WriteAsync(piece).AsTask().BoundedAsync("taking the image in");
        if (server is not null)
        {
            Assert.Contains("pg", await store.Cli.DoAsync("list"), StringComparison.Ordinal);
            var refused = await store.Cli.RunAsync("snapshot", "create", "pg@early");
            Assert.Contains("is being imported", refused.Error, StringComparison.Ordinal);
            server.Kill();
            await server.ExitAsync();
        }

        import.Kill();
        await import.WaitForExitAsync().BoundedAsync("the end of the import");

        var first = await store.Cli.RunAsync("list");
        Assert.Equal(0, first.Code);
        Assert.DoesNotContain("pg", first.Out, StringComparison.Ordinal);
        Assert.Contains(Removed, first.Error, StringComparison.Ordinal);
        var image = store.Files.Write("image", CliStore.Image(1, 1 << 20));
        await store.Cli.DoAsync("import", image, "pg");
        var second = await store.Cli.RunAsync("list");
        Assert.Contains("pg", second.Out, StringComparison.Ordinal);
        Assert.Equal("", second.Error);
        await store.Cli.DoAsync("check");
    }

    /// <summary>Where the name is used again before the next opening, the new disk is not taken for what the import left.</summary>
    [Fact]
    public async Task FailedImport_FreesItsName_ForADiskThatStays()
    {
        await using var store = await CliStore.CreateAsync(isServed: true);
        var image = store.Files.Write("qcow2", "QFI\u00fb"u8.ToArray());
        Assert.NotEqual(0, (await store.Cli.RunAsync("import", image, "pg", "--format", "qcow2")).Code);
        store.Cli.Input = [];
        Assert.NotEqual(0, (await store.Cli.RunAsync("import", "-", "pg")).Code);
        await store.Cli.DoAsync("create", "pg", "--size", "1MiB");
        await store.StopServerAsync();
        var list = await store.Cli.RunAsync("list");
        Assert.Contains("pg", list.Out, StringComparison.Ordinal);
        Assert.Equal("", list.Error);
    }

    [Fact]
    public async Task KilledAtAnyFileEvent_LeavesTheWholeDiskOrNone()
    {
        var seed = Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 } chosen
            ? unchecked((int)ulong.Parse(chosen, CultureInfo.InvariantCulture))
            : Environment.TickCount;
        output.WriteLine($"COWSCSI_SEED={seed}");
        var random = new Random(seed);
        await using var store = await CliStore.CreateAsync();
        var content = CliStore.Image(seed, 3 << 20);
        var image = store.Files.Write("image", content);
        int whole = 0, none = 0;
        for (var round = 0; round < Rounds; round++)
        {
            var number = random.Next(1, FileEventsMax);
            var import = ServerProcess.Launch("import", image, "pg", "--store", store.Directory);
            using (import)
            {
                using var killer = ServerProcess.KillAtFileEvent(import, store.Directory, number);
                await import.WaitForExitAsync().BoundedAsync("the end of the import");
                var list = await store.Cli.RunAsync("list");
                Assert.Equal(0, list.Code);
                if (list.Out.Contains("pg", StringComparison.Ordinal))
                {
                    whole++;
                    await store.Cli.DoAsync("export", "pg", "-");
                    Assert.True(content.AsSpan().SequenceEqual(store.Cli.Output.ToArray()), $"COWSCSI_SEED={seed}, event {number}: the disk is another than the image");
                    await store.Cli.DoAsync("delete", "pg");
                }
                else
                {
                    none++;
                    Assert.False(import.ExitCode == 0, $"COWSCSI_SEED={seed}, event {number}: the import said it was done, and there is no disk");
                }
            }

            await store.Cli.DoAsync("check");
        }

        output.WriteLine($"{whole} whole, {none} none");
    }
}
