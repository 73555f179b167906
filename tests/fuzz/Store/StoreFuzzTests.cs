using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Whole stores with one change in one file: what opens reads right or as an error, what does not open is refused by a line that names why.
/// COWSCSI_SEED runs the one case of that number.
/// </summary>
public sealed class StoreFuzzTests(ITestOutputHelper output)
{
    private const int Cases = 20;

    /// <summary>What one case may take on a busy machine; a hang takes for ever.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromSeconds(60);

    /// <summary>Without forged checksums, what is read is what was written; after a crash, up to a step behind the checkpoint.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task DamagedStore_ReadsRightOrFailsByName(bool isCrashed) => RunAsync(isCrashed, isForged: false);

    /// <summary>What is forged may say anything; it must still not bring the reader down.</summary>
    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public Task ForgedStore_NeitherThrowsNorHangs(bool isCrashed) => RunAsync(isCrashed, isForged: true);

    private async Task RunAsync(bool isCrashed, bool isForged)
    {
        using var sample = await SampleStore.MakeAsync(17, isCrashed);
        Assert.True(sample.Files.Keys.Count(static name => name.StartsWith("segments", StringComparison.Ordinal)) > 1, "the sample has one segment only");
        var folder = Directory.CreateTempSubdirectory("cowscsi-fuzz-case-");
        var outcomes = new SortedDictionary<string, int>(StringComparer.Ordinal);
        var clock = Stopwatch.StartNew();
        var chosen = Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 };
        var seed = FuzzTests.Seed;
        var cases = 0;
        try
        {
            do
            {
                var random = new Random(seed + cases);
                var damage = isForged ? StoreDamage.Forge(sample, random) : StoreDamage.Draw(sample, random);
                var path = Path.Combine(folder.FullName, $"{cases}");
                Write(path, damage.Files);
                string outcome;
                try
                {
                    outcome = await Task.Run(() => ExerciseAsync(path, sample, isCrashed, isForged)).WaitAsync(HangLimit);
                }
                catch (Exception failure)
                {
                    throw new Xunit.Sdk.XunitException($"COWSCSI_SEED={seed + cases}, {damage.Description}: {failure.GetType().Name}: {failure.Message}", failure);
                }

                outcomes[outcome] = outcomes.GetValueOrDefault(outcome) + 1;
                Directory.Delete(path, recursive: true);
                cases++;
            }
            while (!chosen && (FuzzTests.SoakSeconds is { } soak ? clock.Elapsed.TotalSeconds < soak / FuzzTests.SoakShares : cases < Cases));
        }
        finally
        {
            folder.Delete(recursive: true);
        }

        output.WriteLine($"{cases} stores from seed {seed} in {clock.Elapsed.TotalSeconds:F1} s: {string.Join(", ", outcomes.Select(static entry => $"{entry.Value} {entry.Key}"))}");
        Assert.True(chosen || outcomes.Count > 1, "all changes came to the same: they are too tame");
    }

    private static async Task<string> ExerciseAsync(string path, SampleStore sample, bool isCrashed, bool isForged)
    {
        Inspect(path);
        DiskStore store;
        try
        {
            store = DiskStore.Open(path, SampleStore.Options);
        }
        catch (StoreException refused)
        {
            AssertOneLine(refused);
            return $"refused as {refused.Error}";
        }

        var names = sample.States[^1].Keys;
        var contents = new Dictionary<string, byte[]?[]>(StringComparer.Ordinal);
        var failed = false;
        try
        {
            _ = store.GetInfo();
            _ = TryCall(() => store.ListDisks());
            var report = store.Check(null, CancellationToken.None);
            failed = !report.IsClean;
            foreach (var name in names)
                contents[name] = await ReadAsync(store, name);
        }
        finally
        {
            // A close may refuse too: what it would write needs what is damaged.
            try
            {
                await store.DisposeAsync();
            }
            catch (StoreException refused)
            {
                AssertOneLine(refused);
                failed = true;
            }
        }

        failed |= contents.Values.Any(static parts => parts.Contains(null));
        if (!isForged)
            AssertLegal(sample, contents, isCrashed);
        return failed ? "opened, with errors" : "opened, all read";
    }

    /// <summary>
    /// Everything that was read belongs to one state: the last. After a crash, where the change may have taken the log's end with all that
    /// would prove it, an earlier one, but not from before the checkpoint.
    /// </summary>
    private static void AssertLegal(SampleStore sample, Dictionary<string, byte[]?[]> contents, bool isCrashed)
    {
        var states = isCrashed ? sample.States.Skip(sample.CheckpointState).Reverse() : [sample.States[^1]];
        var differences = new List<string>();
        foreach (var state in states)
        {
            var difference = FindDifference(state, contents);
            if (difference is null)
                return;
            differences.Add(difference);
        }

        Assert.Fail($"what was read is no legal state: {string.Join("; ", differences.Take(2))}");
    }

    private static string? FindDifference(Dictionary<string, byte[]> state, Dictionary<string, byte[]?[]> contents)
    {
        foreach (var (name, parts) in contents)
        {
            for (var i = 0; i < parts.Length; i++)
            {
                if (parts[i] is { } part && !part.AsSpan().SequenceEqual(state[name].AsSpan(i * StoreFormat.BlockBytes, part.Length)))
                    return $"block {i} of {name}";
            }
        }

        return null;
    }

    /// <summary>Block by block; null for one that reads as an error, all null where the disk does not open.</summary>
    private static async Task<byte[]?[]> ReadAsync(DiskStore store, string name)
    {
        var blocks = new byte[]?[SampleStore.DiskBytes / StoreFormat.BlockBytes];
        BlockDevice disk;
        try
        {
            disk = SampleStore.Open(store, name);
        }
        catch (StoreException refused)
        {
            AssertOneLine(refused);
            return blocks;
        }

        await using (disk)
        {
            using var buffer = new NativeBuffer(StoreFormat.BlockBytes);
            for (var i = 0; i < blocks.Length && (i + 1L) * StoreFormat.BlockBytes <= disk.Geometry.SizeBytes; i++)
            {
                var result = await disk.ReadAsync(i * (long)StoreFormat.BlockBytes, buffer.Buffer);
                if (result == BlockResult.Success)
                    blocks[i] = buffer.Span.ToArray();
            }
        }

        return blocks;
    }

    /// <summary>Every view of the inspector, which has no other refusal than a StoreException either.</summary>
    private static void Inspect(string path)
    {
        TryCall(() =>
        {
            var inspector = new StoreInspector(path);
            TryCall(() => inspector.Superblock());
            TryCall(() => inspector.Checkpoint(null));
            TryCall(() => inspector.Segments());
            TryCall(() => inspector.Segment(1));
            TryCall(() => inspector.Record(1, 8192));
            TryCall(() => inspector.Catalog());
            TryCall(() => inspector.Page("plain", null, 0));
            TryCall(() => inspector.Page("lz4xts", "s", 65536));
            TryCall(() => inspector.Disks().Select(static disk => DiskInspection.KeySlots(disk, withSecrets: true)).ToList());
            return true;
        });
    }

    private static bool TryCall<T>(Func<T> call)
    {
        try
        {
            call();
            return true;
        }
        catch (StoreException refused)
        {
            AssertOneLine(refused);
            return false;
        }
    }

    private static void AssertOneLine(StoreException refused)
    {
        Assert.True(refused.Message.Length > 10, $"refused without a reason: '{refused.Message}'");
        Assert.DoesNotContain('\n', refused.Message);
    }

    private static void Write(string path, Dictionary<string, byte[]> files)
    {
        foreach (var folder in new[] { "segments", "map" })
            Directory.CreateDirectory(Path.Combine(path, folder));
        foreach (var (name, bytes) in files)
        {
            Directory.CreateDirectory(Path.GetDirectoryName(Path.Combine(path, name))!);
            File.WriteAllBytes(Path.Combine(path, name), bytes);
        }
    }
}
