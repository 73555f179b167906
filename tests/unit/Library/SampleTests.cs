using System.Net;
using System.Text;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using CowScsi.Tests.Unit.Repository;
using CowScsi.Tests.Unit.Vhost;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>The samples as programs, with initiators that are not ours: what is written is there, what is wrong is told.</summary>
public sealed class SampleTests : IDisposable
{
    private const int LinesMax = 60;
    private const int MiB = 1 << 20;

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("samples-");

    public void Dispose() => folder.Delete(recursive: true);

    [Fact]
    public void Samples_AreShort()
    {
        var longOnes = SourceTree.Files(".cs")
            .Where(file => file.StartsWith("samples/", StringComparison.Ordinal))
            .Select(file => (file, lines: SourceTree.Read(file).AsSpan().Count('\n')))
            .Where(entry => entry.lines > LinesMax)
            .Select(entry => $"{entry.file}: {entry.lines} lines");
        SourceTree.AssertNone($"longer than {LinesMax} lines", longOnes);
    }

    [SkippableFact]
    public async Task RamDisk_HoldsWhatIsWritten_AndLeavesCleanly()
    {
        LibiscsiClient.SkipWhereMissing();
        await using var sample = await SampleProcess.StartAsync("ram-disk", "16", "iscsi:0");
        Assert.Matches("^iscsi://127.0.0.1:[0-9]+/iqn.2026-11.io.cowscsi:ram-disk/0$", sample.Address);
        Assert.Contains("Product:ram-disk", (await LibiscsiClient.InquireAsync(sample.Address, "iqn.1993-08.org.debian:a")).Said, StringComparison.Ordinal);
        await QemuIo.RunAsync(sample.Address, "write -P 0x11 0 1M", "write -P 0x22 15M 1M", "flush", "read -P 0x11 0 1M", "read -P 0 1M 14M", "read -P 0x22 15M 1M");
        Assert.Equal(0, await sample.EndAsync());
        Assert.Empty(sample.Lines);
    }

    [SkippableFact]
    public async Task FileDisk_ChangesTheFile_AndKeepsOthersOut()
    {
        LibiscsiClient.SkipWhereMissing();
        var path = Path.Combine(folder.FullName, "disk.img");
        var content = Pattern(4 * MiB);
        await File.WriteAllBytesAsync(path, content);
        await using var sample = await SampleProcess.StartAsync("file-disk", path, "iscsi:0");
        var copy = Path.Combine(folder.FullName, "copy.img");
        var (code, said) = await ClientProgram.RunAsync("qemu-img", "convert", "-f", "raw", "-O", "raw", sample.Address, copy);
        Assert.True(code == 0, said);
        Assert.True((await File.ReadAllBytesAsync(copy)).AsSpan().SequenceEqual(content));
        await QemuIo.RunAsync(sample.Address, "write -P 0x33 1M 64k", "flush");

        var second = await SampleProcess.RunToEndAsync("file-disk", path, "iscsi:0");
        Assert.Equal(1, second.Code);
        Assert.Contains("being used by another process", second.Said, StringComparison.Ordinal);
        Assert.Equal(0, await sample.EndAsync());
        content.AsSpan(MiB, 65536).Fill(0x33);
        Assert.True((await File.ReadAllBytesAsync(path)).AsSpan().SequenceEqual(content));
    }

    [SkippableFact]
    public async Task HttpDisk_FetchesWhatIsRead_KeepsWhatIsWritten_AndRecovers()
    {
        LibiscsiClient.SkipWhereMissing();
        var content = Pattern((2 * MiB) + 1000); // its last block is not whole
        await using var server = new WebServer(content);
        await server.StartAsync();
        await using var sample = await SampleProcess.StartAsync("http-disk", server.Url, "iscsi:0");
        Assert.Empty(server.Ranges); // nothing was read yet

        // One block is one piece; what was fetched is not fetched again.
        await AssertReadsAsync(sample, 65536 + 512, content.AsMemory(65536 + 512, 512));
        await AssertReadsAsync(sample, 65536 + 1024, content.AsMemory(65536 + 1024, 2048));
        Assert.Contains("bytes=65536-131071", server.Ranges);
        Assert.Single(server.Ranges, "bytes=65536-131071");

        // What is written lies over it, also over pieces that were never read; the server's file stays.
        await QemuIo.RunAsync(sample.Address, "write -P 0x44 1M 4k", "flush", "read -P 0x44 1M 4k");
        await AssertReadsAsync(sample, MiB + 4096, content.AsMemory(MiB + 4096, 4096));

        // The server is gone: an error, not zeros. It comes back: no error any more.
        await server.StopAsync();
        await AssertFailsAsync(sample, 512 << 10);
        await QemuIo.RunAsync(sample.Address, "read -P 0x44 1M 4k"); // what is there stays
        await server.StartAsync();
        await AssertReadsAsync(sample, 512 << 10, content.AsMemory(512 << 10, 4096));

        server.BreaksOff = true;
        await AssertFailsAsync(sample, 768 << 10);
        server.BreaksOff = false;
        server.IgnoresRanges = true;
        await AssertFailsAsync(sample, 768 << 10);
        server.IgnoresRanges = false;
        server.Version = "\"2\"";
        await AssertFailsAsync(sample, 768 << 10); // another file by now: never a mix of both
        server.Version = "\"1\"";

        // As a whole, with the last block filled up with zeros.
        var copy = Path.Combine(folder.FullName, "copy.img");
        var (code, said) = await ClientProgram.RunAsync("qemu-img", "convert", "-f", "raw", "-O", "raw", sample.Address, copy);
        Assert.True(code == 0, said);
        var expected = new byte[(content.Length + 511) / 512 * 512];
        content.CopyTo(expected, 0);
        expected.AsSpan(MiB, 4096).Fill(0x44);
        Assert.True((await File.ReadAllBytesAsync(copy)).AsSpan().SequenceEqual(expected));
        Assert.Contains(sample.Lines, line => line.StartsWith("Read at byte 524288 failed: HttpRequestException", StringComparison.Ordinal));
        Assert.Equal(0, await sample.EndAsync());
    }

    [Fact]
    public async Task CustomCommand_Answers_AndRefusesWhatIsWrong()
    {
        await using var sample = await SampleProcess.StartAsync("custom-command", "iscsi:0");
        var url = new Uri(sample.Address.Replace("iscsi:", "http:", StringComparison.Ordinal));
        using (var initiator = new TestInitiator(new IPEndPoint(IPAddress.Loopback, url.Port)))
        {
            initiator.LoginAs($"InitiatorName={TestInitiator.Name}", "SessionType=Normal", "TargetName=" + url.Segments[1].TrimEnd('/'));
            initiator.ClearUnitAttentions();
            Assert.Equal("", Encoding.ASCII.GetString(Read(initiator)));
            initiator.Command(0xA0, 6, [0xC2, 0, 0, 0, 6, 0], "rack 7"u8.ToArray());
            initiator.ReceiveStatus(ScsiStatusByte.Good);
            Assert.Equal("rack 7", Encoding.ASCII.GetString(Read(initiator)));

            initiator.Command(0xA0, 6, [0xC2, 0, 0, 0, 65, 0], "rack 8"u8.ToArray()); // longer than a label is
            initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
            initiator.Command(0xA0, 6, [0xC2, 0, 0, 0, 7, 0], "rack 8"u8.ToArray()); // less data than the CDB says
            initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
            initiator.Command(0xA0, 6, [0xC2, 1, 0, 0, 6, 0], "rack 8"u8.ToArray()); // a bit that means nothing
            initiator.ReceiveStatus(ScsiStatusByte.CheckCondition);
            Assert.Equal("rack 7", Encoding.ASCII.GetString(Read(initiator)));
        }

        Assert.Equal(0, await sample.EndAsync());
        Assert.Empty(sample.Lines);
    }

    [Fact]
    public async Task Sample_IsADiskOfAVirtualMachineToo()
    {
        var socket = Path.Combine(folder.FullName, "socket");
        await using var sample = await SampleProcess.StartAsync("ram-disk", "16", "vhost-user:" + socket);
        Assert.Equal(socket, sample.Address);
        using (var guest = new ScsiGuest(new TestFrontEnd(socket)))
        {
            guest.Do(ScsiGuest.Lun(0, 0), [0, 0, 0, 0, 0, 0]);
            var inquiry = guest.Do(ScsiGuest.Lun(0, 0), [0x12, 0, 0, 0, 36, 0], dataInBytes: 36);
            Assert.Equal("ram-disk", Encoding.ASCII.GetString(inquiry.Data, 16, 8));
            var data = Pattern(4096);
            Assert.Equal(0, guest.Do(ScsiGuest.Lun(0, 0), [0x2A, 0, 0, 0, 0, 8, 0, 0, 8, 0], dataOut: data).Status);
            Assert.Equal(data, guest.Do(ScsiGuest.Lun(0, 0), [0x28, 0, 0, 0, 0, 8, 0, 0, 8, 0], dataInBytes: 4096).Data);
        }

        Assert.Equal(0, await sample.EndAsync());
        Assert.False(File.Exists(socket));
    }

    [Theory]
    [InlineData("ram-disk", 2, "usage: ram-disk MIB", "none")]
    [InlineData("ram-disk", 1, "'carrier-pigeon' is no transport: iscsi", "1", "carrier-pigeon")]
    [InlineData("file-disk", 1, "/nowhere", "/nowhere")]
    [InlineData("http-disk", 1, "Connection refused", "http://127.0.0.1:1/disk.img")]
    public async Task WhatIsWrong_IsOneLine(string sample, int code, string said, params string[] words)
    {
        var ended = await SampleProcess.RunToEndAsync(sample, words);
        Assert.Equal(code, ended.Code);
        Assert.Contains(said, ended.Said, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', ended.Said);
    }

    private static async Task AssertReadsAsync(SampleProcess sample, long offset, ReadOnlyMemory<byte> expected)
    {
        var (isDone, said) = await QemuIo.TryAsync(sample.Address, $"read -v {offset} {expected.Length}");
        Assert.True(isDone, said);
        // 16 bytes a line: OFFSET:  xx xx ...  text
        var bytes = said.Split('\n').Where(line => line.Length > 60 && line[8] == ':').SelectMany(line => line.Substring(10, 48).Split(' ', StringSplitOptions.RemoveEmptyEntries));
        Assert.Equal(Convert.ToHexString(expected.Span), string.Concat(bytes), ignoreCase: true);
    }

    private static async Task AssertFailsAsync(SampleProcess sample, long offset)
    {
        var (isDone, said) = await QemuIo.TryAsync(sample.Address, $"read {offset} 4k");
        Assert.False(isDone);
        Assert.Matches(@"\(3\) ASCQ:.*\(0x1100\)", said); // MEDIUM ERROR, UNRECOVERED READ ERROR
    }

    private static byte[] Read(TestInitiator initiator)
    {
        initiator.Command(0xC0, 64, [0xC1, 0, 0, 0, 64, 0]);
        var answer = initiator.Receive();
        if (answer.Data.Length == 0)
            return [];
        Assert.Equal(0, answer.Header[3]);
        return answer.Data;
    }

    private static byte[] Pattern(int length)
    {
        var bytes = new byte[length];
        new Random(7).NextBytes(bytes);
        return bytes;
    }
}
