using CowScsi.Layers;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Format;

/// <summary>
/// A second reader, in Python and from docs/format.md alone, agrees with `vdisk export` about every byte of every disk and snapshot, and
/// finds every predicate of the document to hold, of stores that were closed, that crashed, and of which the end was torn.
/// </summary>
public sealed class IndependentReaderTests(ITestOutputHelper output)
{
    private const int Steps = 120;
    private const int BaseBytes = 300_000 + 123; // Ends inside a sector.

    public enum End
    {
        Closed,
        Crashed,
        Torn,
    }

    [SkippableTheory]
    [InlineData(1, End.Closed)]
    [InlineData(2, End.Crashed)]
    [InlineData(3, End.Torn)]
    [InlineData(4, End.Closed)]
    [InlineData(5, End.Torn)]
    public async Task EveryDiskAndSnapshot_ReadsAsTheToolExportsIt(int seed, End end)
    {
        StoreReader.SkipWhereMissing();
        using var images = new QemuImages();
        using var files = new TemporaryDirectory();
        var image = CliStore.Image(seed, BaseBytes);
        File.WriteAllBytes(images.PathOf("base.raw"), image);
        File.WriteAllBytes(images.PathOf("padded.raw"), [.. image, .. new byte[512 - (BaseBytes % 512)]]); // What qemu-img makes of it.
        images.Convert("padded.raw", "base.qcow2", compress: true);
        var directory = files.File("store");
        using (var store = new SampleStore(directory, seed))
        {
            var raw = new BaseImageReference(images.PathOf("base.raw"), BaseImageFormat.Raw);
            new SampleHistory(store, seed, raw, new BaseImageReference(images.PathOf("base.qcow2"), BaseImageFormat.Qcow2)).Run(Steps);
            if (end == End.Closed)
                store.CloseStore();
            else
                store.Crash();
        }

        if (end == End.Torn)
            Tear(directory);

        // The reader comes first: opening the store repairs what a crash left.
        var key = files.Write("key", SampleStore.Passphrase + "\n");
        var before = Directory.CreateDirectory(files.File("before")).FullName;
        ReadAll(directory, before, key, images);
        await CompareAsync(directory, before, key, files);

        // The tool has opened the store and closed it; its checkpoint is now held against the log.
        var after = Directory.CreateDirectory(files.File("after")).FullName;
        var verdict = StoreReader.Do(directory, "verify", "--passphrase-file", key);
        Assert.Contains("agrees with the log", verdict, StringComparison.Ordinal);
        Assert.Contains("segments were removed", verdict, StringComparison.Ordinal);
        ReadAll(directory, after, key, images);
        foreach (var path in Directory.EnumerateFiles(before))
            Assert.True(File.ReadAllBytes(path).AsSpan().SequenceEqual(File.ReadAllBytes(Path.Combine(after, Path.GetFileName(path)))), path);
    }

    private void ReadAll(string directory, string folder, string key, QemuImages images)
    {
        output.WriteLine(StoreReader.Do(directory, "verify", "--passphrase-file", key).Trim());
        StoreReader.Do(directory, "export-all", folder, "--passphrase-file", key, "--base", images.PathOf("padded.raw"));
    }

    private async Task CompareAsync(string directory, string folder, string key, TemporaryDirectory files)
    {
        var cli = new CliRun().With("VDISK_STORE", directory).With("VDISK_PASSPHRASE_FILE", key);
        var found = new List<string>();
        await using (var store = DiskStore.Open(directory, SampleStore.Options))
            found.AddRange(SampleStore.Addresses(store));
        Assert.Equal(Directory.EnumerateFiles(folder).Select(Path.GetFileNameWithoutExtension).Order(StringComparer.Ordinal), found.Order(StringComparer.Ordinal));
        long bytes = 0;
        foreach (var address in found)
        {
            await cli.DoAsync("export", address, files.File("exported"));
            var exported = File.ReadAllBytes(files.File("exported"));
            var read = File.ReadAllBytes(Path.Combine(folder, address + ".raw"));
            Assert.Equal(exported.Length, read.Length);
            var same = exported.AsSpan().CommonPrefixLength(read);
            Assert.True(same == exported.Length, $"{address}: byte {same} is {read[Math.Min(same, read.Length - 1)]} to the reader, {exported[Math.Min(same, exported.Length - 1)]} to the tool");
            bytes += read.Length;
        }

        output.WriteLine($"{found.Count} disks and snapshots, {bytes} bytes agree");
    }

    /// <summary>Of the log's last batch, which nothing proves durable, the last 512 bytes that hold anything are lost.</summary>
    private static void Tear(string directory)
    {
        const int SectorBytes = 512;
        foreach (var path in Directory.EnumerateFiles(Path.Combine(directory, "segments")).OrderDescending(StringComparer.Ordinal))
        {
            var bytes = File.ReadAllBytes(path);
            var last = bytes.AsSpan().LastIndexOfAnyExcept((byte)0);
            if (last < 4096)
                continue; // A spare: it has a header only.
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write);
            file.Position = last / SectorBytes * SectorBytes;
            file.Write(new byte[SectorBytes]);
            return;
        }

        Assert.Fail("no segment holds a batch");
    }
}
