using System.Diagnostics;
using CowScsi.Tests.Unit.Kill;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>qemu-img as the initiator: images go in and come out over iSCSI as they were, whatever the disk is stored as.</summary>
public sealed class QemuTransferTests : IDisposable
{
    private const int ImageBytes = 24 << 20;

    /// <summary>What is not zero in the image, but for a few strewn pieces.</summary>
    private const int DataBytes = ImageBytes / 3;
    private const int Seed = 20_261_121;

    private readonly TemporaryDirectory files = new();

    public void Dispose() => files.Dispose();

    [Theory]
    [InlineData("plain", "")]
    [InlineData("packed", "--compress=lz4")]
    [InlineData("native", "--block-size=4096")]
    public async Task QemuImg_ConvertsInAndOut_WithoutADifference(string disk, string option)
    {
        var image = files.Write("image.raw", MakeImage());
        var store = files.File("store");
        var cli = new CliRun().With("VDISK_STORE", store);
        await cli.DoAsync("init");
        await cli.DoAsync(["create", disk, "--size", "24MiB", .. option.Length == 0 ? Array.Empty<string>() : [option]]);
        using var server = ServerProcess.Start(store);
        Assert.True(await server.IsReadyAsync(1), server.Complaints);
        var (portal, target, lun) = server.Addresses[disk];
        var url = $"iscsi://{portal}/{target}/{lun}";

        await RunAsync("convert", "-n", "-f", "raw", "-O", "raw", image, url);
        await RunAsync("compare", "-f", "raw", "-F", "raw", image, url);
        await RunAsync("convert", "-f", "raw", "-O", "qcow2", url, files.File("out.qcow2"));
        await RunAsync("compare", "-f", "raw", "-F", "qcow2", image, files.File("out.qcow2"));
        // Zeros travelled as such: nothing is stored for them.
        using var info = System.Text.Json.JsonDocument.Parse(await cli.DoAsync("info", disk, "--json"));
        Assert.InRange(info.RootElement.GetProperty("disk").GetProperty("written_bytes").GetInt64(), DataBytes, DataBytes + (2 << 20));
        server.Terminate();
        Assert.Equal(0, await server.ExitAsync());
        await cli.DoAsync("check");
    }

    /// <summary>A sixth of random bytes, a sixth of a text that compresses, zeros behind each, and a few strewn pieces.</summary>
    private static byte[] MakeImage()
    {
        const int Third = ImageBytes / 3;
        var image = new byte[ImageBytes];
        var random = new Random(Seed);
        random.NextBytes(image.AsSpan(0, Third / 2));
        for (var i = 2 * Third; i < (2 * Third) + (Third / 2); i++)
            image[i] = (byte)('a' + (i / 7 % 26));
        for (var i = 0; i < 16; i++)
            random.NextBytes(image.AsSpan(Third + (i * 300_000), 777));
        return image;
    }

    private static async Task RunAsync(params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo("qemu-img", words)
        {
            UseShellExecute = false,
            RedirectStandardOutput = true,
            RedirectStandardError = true,
        })!;
        var error = process.StandardError.ReadToEndAsync();
        var output = process.StandardOutput.ReadToEndAsync();
        await process.WaitForExitAsync().BoundedAsync("qemu-img");
        Assert.True(process.ExitCode == 0, $"qemu-img {string.Join(' ', words)}: {process.ExitCode}: {await error}{await output}");
    }
}
