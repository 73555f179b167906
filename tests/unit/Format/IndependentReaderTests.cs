using CowScsi.Engine;
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
            if (end == End.Torn)
            {
                // A last batch of which nothing says that it was durable, whatever the history ended with; no checkpoint comes behind it.
                store.Disks.Store.StopKeeper();
                store.Write("churn", 0, 4096);
                store.Flush("churn");
            }

            if (end == End.Closed)
                store.CloseStore();
            else
                store.Crash();
        }

        if (end == End.Torn)
            TornTail.Tear(directory);

        // The reader comes first: opening the store repairs what a crash left.
        var key = files.Write("key", SampleStore.Passphrase + "\n");
        var folder = Directory.CreateDirectory(files.File("read")).FullName;
        StoreReader.Do(directory, "export-all", folder, "--passphrase-file", key, "--base", images.PathOf("padded.raw"));
        await CompareAsync(directory, folder, key, files);

        // The tool has opened the store and closed it; its checkpoint is now held against the log.
        var verdict = StoreReader.Do(directory, "verify", "--passphrase-file", key);
        output.WriteLine(verdict.Trim());
        Assert.Contains("agrees with the log", verdict, StringComparison.Ordinal);
        Assert.Contains("segments were removed", verdict, StringComparison.Ordinal);
    }

    /// <summary>
    /// A byte is changed anywhere in a segment. What the reader still takes, the engine takes too, and they read the same; what neither
    /// may do is read anything else. (The engine takes more: what a checkpoint covers it need not read again.)
    /// </summary>
    [SkippableTheory]
    [InlineData("plain")]
    [InlineData("line")]
    public async Task ByteChangedInASegment_NeverReadsAsData(string golden)
    {
        StoreReader.SkipWhereMissing();
        const int Flips = 12;
        var right = GoldenStores.Manifest().Where(content => content.Store == golden).ToDictionary(static content => content.Address, StringComparer.Ordinal);
        var random = new Random(7);
        int refused = 0, damaged = 0;
        for (var i = 0; i < Flips; i++)
        {
            using var files = new TemporaryDirectory();
            var directory = files.File("store");
            GoldenStores.Unpack(golden, directory);
            var segments = Directory.GetFiles(Path.Combine(directory, "segments")).Order(StringComparer.Ordinal).ToArray();
            var path = segments[random.Next(segments.Length)];
            var bytes = File.ReadAllBytes(path);
            var at = random.Next(bytes.Length);
            bytes[at] ^= (byte)random.Next(1, 256);
            File.WriteAllBytes(path, bytes);

            var what = $"{Path.GetFileName(path)} byte {at}";
            var folder = Directory.CreateDirectory(files.File("read")).FullName;
            var reading = StoreReader.Try(directory, "export-all", folder);
            var isDamaged = false;
            try
            {
                await using var store = DiskStore.Open(directory, SampleStore.Options);
                foreach (var address in SampleStore.Addresses(store))
                {
                    if (await SampleStore.ReadAsync(store, address) is { } content)
                        Assert.True(GoldenContent.Of(golden, address, content) == right[address], $"{what}: {address} reads as something else");
                    else
                        isDamaged = true;
                }
            }
            catch (StoreException refusal) when (refusal.Error == StoreError.Corrupt)
            {
                isDamaged = true;
            }

            damaged += isDamaged ? 1 : 0;
            refused += reading.Code == 2 ? 1 : 0;
            Assert.True(reading.Code is 0 or 2, $"{what}: {reading.Error}");
            Assert.True(reading.Code == 2 || !isDamaged, $"{what}: the reader takes what the engine refuses");
            if (reading.Code == 0)
            {
                foreach (var (address, content) in right)
                    Assert.True(GoldenContent.Of(golden, address, File.ReadAllBytes(Path.Combine(folder, address + ".raw"))) == content, $"{what}: {address} reads as something else to the reader");
            }
        }

        output.WriteLine($"{Flips} bytes changed: refused by the reader {refused} times, damage to the engine {damaged} times");
        Assert.True(refused > 0, "no byte that was changed counted");
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
}
