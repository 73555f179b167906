using System.Text.Json;
using CowScsi.Engine;
using CowScsi.Vdisk;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Sessions;
using CowScsi.Vdisk.Transfer;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>Import and export: every byte there and back, and nothing left behind by what fails.</summary>
public sealed class TransferTests
{
    private const int OddLength = (5 << 20) + 12345;

    [Theory]
    [InlineData(false, "none", false)]
    [InlineData(true, "none", false)]
    [InlineData(false, "lz4", true)]
    [InlineData(true, "lz4", true)]
    public async Task File_ComesBackAsItWent(bool isServed, string compression, bool isEncrypted)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        var image = CliStore.Image(1, OddLength);
        var file = store.Files.Write("image", image);
        var key = store.Files.Write("key", "correct horse\n");
        string[] encrypt = isEncrypted ? ["--encrypt", "--passphrase-file", key] : [];
        string[] decrypt = isEncrypted ? ["--passphrase-file", key] : [];
        await store.Cli.DoAsync(["import", file, "pg", "--compress", compression, .. encrypt]);
        await store.Cli.DoAsync(["export", "pg", store.Files.File("out"), .. decrypt]);
        AssertPadded(image, File.ReadAllBytes(store.Files.File("out")));
        await store.Cli.DoAsync("snapshot", "create", "pg@a");
        await store.Cli.DoAsync(["export", "pg@a", "-", .. decrypt]);
        AssertPadded(image, store.Cli.Output.ToArray());
        Assert.Empty(Directory.GetFiles(store.Files.Path, "*.partial"));
    }

    /// <summary>An image may end inside a logical block: what is exported goes in whole ones, the rest of the last is zeros.</summary>
    [Theory]
    [InlineData("512", 5000)]
    [InlineData("4096", 5120)]
    public async Task DiskOverABaseThatEndsInsideABlock_IsExported(string blockBytes, int baseBytes)
    {
        await using var store = await CliStore.CreateAsync();
        var image = CliStore.Image(4, baseBytes);
        image[^1] = 1;
        await store.Cli.DoAsync("create", "pg", "--base", store.Files.Write("image", image), "--block-size", blockBytes);
        await store.Cli.DoAsync("export", "pg", store.Files.File("out"));
        AssertPadded(image, File.ReadAllBytes(store.Files.File("out")));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task StandardInput_IsImportedToItsUnknownEnd(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        store.Cli.Input = CliStore.Image(2, OddLength);
        await store.Cli.DoAsync("import", "-", "pg");
        using var document = JsonDocument.Parse(await store.Cli.DoAsync("info", "pg", "--json"));
        Assert.Equal((OddLength + 4095L) / 4096 * 4096, document.RootElement.GetProperty("disk").GetProperty("size_bytes").GetInt64());
        await store.Cli.DoAsync("export", "pg", "-");
        AssertPadded(store.Cli.Input, store.Cli.Output.ToArray());
    }

    [Fact]
    public async Task Import_CanMakeTheDiskLarger()
    {
        await using var store = await CliStore.CreateAsync();
        var image = CliStore.Image(3, 1 << 20);
        await store.Cli.DoAsync("import", store.Files.Write("image", image), "pg", "--size", "4MiB");
        await store.Cli.DoAsync("export", "pg", "-");
        Assert.Equal(4 << 20, store.Cli.Output.ToArray().Length);
        Assert.Equal(image, store.Cli.Output.ToArray()[..image.Length]);
    }

    [Fact]
    public async Task Export_IsSparse_AndReplacesAnExistingFileWhole()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "huge", "--size", "1TiB");
        var target = store.Files.Write("out", "old contents");
        await store.Cli.DoAsync("export", "huge", target);
        Assert.Equal(1L << 40, new FileInfo(target).Length);
        Assert.Equal(["out"], Directory.GetFiles(store.Files.Path).Select(Path.GetFileName));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task ImportOfNothing_OrOfAPipedQcow2_LeavesNoDisk(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.FailAsync(ExitCode.Failed, "import", "-", "pg");
        store.Cli.Input = [(byte)'Q', (byte)'F', (byte)'I', 0xFB, 0, 0, 0, 3, .. new byte[100]];
        await store.Cli.FailAsync(ExitCode.Usage, "import", "-", "pg");
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task NameThatIsTaken_StopsAnImportBeforeAnythingIsRead(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "pg", "--size", "1GiB");
        await using var session = await StoreSessions.OpenAsync(store.Directory, StoreOptions.Default, default);
        await using var source = new BrokenSource(new InvalidOperationException("must not be read"));
        var error = await Record.ExceptionAsync(async () => await session.ImportAsync(new DiskRequest { Name = "pg" }, null, source, default));
        Assert.NotNull(error);
        Assert.Equal(0, source.PositionBytes);
        Assert.Equal(1L << 30, (await session.GetDiskAsync("pg", default)).SizeBytes);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task SourceThatFails_LeavesNoDiskAndItsReasonIsTold(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await using var session = await StoreSessions.OpenAsync(store.Directory, StoreOptions.Default, default);
        await using var source = new BrokenSource(new IOException("the cable was pulled"));
        var error = await Assert.ThrowsAsync<IOException>(async () => await session.ImportAsync(new DiskRequest { Name = "pg" }, null, source, default));
        Assert.Equal("the cable was pulled", error.Message);
        await AssertGoneAsync(session, "pg");
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task InterruptedImport_LeavesNoDisk(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await using var session = await StoreSessions.OpenAsync(store.Directory, StoreOptions.Default, default);
        using var stop = new CancellationTokenSource();
        await using var source = new EndlessSource(afterPieces: 3, stop.Cancel);
        await Assert.ThrowsAnyAsync<OperationCanceledException>(
            async () => await session.ImportAsync(new DiskRequest { Name = "pg" }, null, source, stop.Token));
        await AssertGoneAsync(session, "pg");
    }

    [Fact]
    public async Task InterruptedCommand_AnswersOneHundredAndThirty()
    {
        await using var store = await CliStore.CreateAsync();
        using var stop = new CancellationTokenSource();
        await stop.CancelAsync();
        store.Cli.Stop = stop.Token;
        store.Cli.Input = new byte[1 << 20];
        await store.Cli.FailAsync(ExitCode.Interrupted, "import", "-", "pg");
        store.Cli.Stop = default;
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Diff_NamesTheRunsThatChanged(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("import", store.Files.Write("image", CliStore.Image(4, 1 << 20)), "pg");
        await store.Cli.DoAsync("snapshot", "create", "pg@a");
        await store.Cli.DoAsync("snapshot", "create", "pg@b");
        using var same = JsonDocument.Parse(await store.Cli.DoAsync("diff", "pg@a", "pg@b", "--json"));
        Assert.Equal(0, same.RootElement.GetProperty("changed_bytes").GetInt64());
        Assert.Equal("no difference", (await store.Cli.DoAsync("diff", "pg@a")).Trim());
    }

    private static void AssertPadded(byte[] expected, byte[] actual)
    {
        Assert.Equal((expected.Length + 4095) / 4096 * 4096, actual.Length);
        Assert.True(expected.AsSpan().SequenceEqual(actual.AsSpan(0, expected.Length)));
        Assert.False(actual.AsSpan(expected.Length).ContainsAnyExcept((byte)0));
    }

    /// <summary>A server undoes an import when it notices that the client is gone: soon, not at once.</summary>
    private static async Task AssertGoneAsync(IStoreSession session, string disk)
    {
        using var patience = new CancellationTokenSource(TimeSpan.FromSeconds(20));
        while ((await session.ListDisksAsync(patience.Token)).Any(known => known.Name == disk))
            await Task.Yield();
    }

    /// <summary>Gives one piece, then fails.</summary>
    private sealed class BrokenSource : IImportSource
    {
        private readonly Exception error;

        public BrokenSource(Exception error) => this.error = error;

        public long? SizeBytes => 64 << 20;

        public long PositionBytes { get; private set; }

        public ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation)
        {
            if (PositionBytes > 0)
                throw error;
            buffer.GetSpan().Fill(7);
            PositionBytes = TransferBuffer.SizeBytes;
            return new(new ImportPiece(0, TransferBuffer.SizeBytes));
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }

    /// <summary>Never ends, and calls out after some pieces.</summary>
    private sealed class EndlessSource : IImportSource
    {
        private readonly int afterPieces;
        private readonly Action callOut;
        private long pieces;

        public EndlessSource(int afterPieces, Action callOut)
        {
            this.afterPieces = afterPieces;
            this.callOut = callOut;
        }

        public long? SizeBytes => null;

        public long PositionBytes => pieces * TransferBuffer.SizeBytes;

        public ValueTask<ImportPiece> ReadNextAsync(TransferBuffer buffer, CancellationToken cancellation)
        {
            cancellation.ThrowIfCancellationRequested();
            if (pieces == afterPieces)
                callOut();
            buffer.GetSpan().Fill(7);
            return new(new ImportPiece(pieces++ * TransferBuffer.SizeBytes, TransferBuffer.SizeBytes));
        }

        public ValueTask DisposeAsync() => ValueTask.CompletedTask;
    }
}
