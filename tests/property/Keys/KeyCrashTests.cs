using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>
/// Keys and the loss of power: every short sequence of making, cloning, deleting and erasing encrypted disks, every place where the power may
/// fail, every state that the disk may then be in. Each disk that is there opens and shows what it should, each key that is in force is whole,
/// and of any other there is not a piece left once what destroyed it was answered, or once the store was opened again.
/// </summary>
public sealed class KeyCrashTests(ITestOutputHelper output)
{
    private const int LengthMax = 4;
    private const int SubsetsMax = 4;

    /// <summary>Of the sequences of the largest length one in so many is run; the soak takes them all.</summary>
    private const int LongestOneIn = 13;

    /// <summary>Of the states whose opening has to do with keys one in so many has the power fail in that opening; all of them in the soak.</summary>
    private const int RecoveriesOneIn = 6;

    private static readonly bool IsSoak = Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") is { Length: > 0 } and not "0";

    private readonly HashSet<ulong> recovered = [];
    private readonly StoreOptions options = SimulatedOptions.With(new SimulatedTime());
    private long points;
    private long states;
    private long recoveries;
    private long openings;

    [Fact]
    public void EachLossOfPower_LeavesTheOldKeyOrTheNewOne_AndNeverTheOldOneBehindTheEnd()
    {
        var clock = Stopwatch.StartNew();
        var empty = KeyWorld.Empty(options);
        var sequences = 0;
        var longest = 0;
        foreach (var sequence in Sequences(LengthMax))
        {
            if (sequence.Length == LengthMax && longest++ % LongestOneIn != 0 && !IsSoak)
                continue;
            if (Explore(empty, sequence))
                sequences++;
        }

        output.WriteLine($"{sequences} sequences, {points} places, {states} states, {recoveries} more of interrupted openings in {clock.Elapsed.TotalSeconds:F1} s");
        Assert.True(sequences > 20 && states > 300 && recoveries > 100, $"only {sequences} sequences, {states} states, {recoveries} recoveries");
    }

    private static IEnumerable<KeyStep[]> Sequences(int length)
    {
        // All begin with a disk: without one there is no key.
        var all = new List<KeyStep[]> { new[] { KeyStep.Create } };
        for (var i = 0; i < all.Count; i++)
        {
            yield return all[i];
            if (all[i].Length < length)
                all.AddRange(Enum.GetValues<KeyStep>().Select(step => (KeyStep[])[.. all[i], step]));
        }
    }

    /// <summary>True where each step had something to act on. What a loss of power inside an earlier step leaves, a shorter sequence shows.</summary>
    private bool Explore(DiskImage empty, KeyStep[] sequence)
    {
        var directory = new SimulatedDirectory(empty.Copy());
        using var world = new KeyWorld(directory, DiskStore.Begin(Store.Open(directory, options), notice: null));
        var before = new Dictionary<string, byte>(StringComparer.Ordinal);
        var begin = 0;
        for (var i = 0; i < sequence.Length; i++)
        {
            before = new Dictionary<string, byte>(world.Disks, StringComparer.Ordinal);
            begin = directory.Journal.Count;
            if (!world.Do(sequence[i], i))
                return false;
        }

        var end = directory.Journal.Count;
        world.Store.Store.Crash();
        RequireOverwritten(directory.Journal);
        var crash = new CrashStates(directory.Image, directory.Journal);
        crash.AdvanceTo(begin);
        var judged = new HashSet<(ulong, bool)>();
        while (crash.Position < end)
        {
            crash.AdvanceTo(crash.Position + 1);
            points++;
            var isOver = crash.Position == end;
            foreach (var image in crash.Enumerate(SubsetsMax))
            {
                if (!judged.Add((image.Hash(), isOver)))
                    continue;
                states++;
                try
                {
                    Judge(world, image, isOver ? world.Disks : before, isOver, depth: 0);
                }
                catch (Exception fault) when (fault is XunitException or StoreException)
                {
                    throw new XunitException($"{string.Join(", ", sequence)}, power lost behind event {crash.Position} ({directory.Journal[crash.Position - 1]}): {fault.Message}", fault);
                }
            }
        }

        return true;
    }

    /// <summary>A file that loses its name is durably overwritten before: its blocks stay where they are.</summary>
    private static void RequireOverwritten(List<DiskEvent> journal)
    {
        foreach (var removal in journal.Where(static what => what.Kind == DiskEventKind.Delete && what.Name.StartsWith("keys/", StringComparison.Ordinal)))
        {
            var last = journal.Take(journal.IndexOf(removal)).Where(what => what.Name == removal.Name).TakeLast(2).ToList();
            Assert.Equal((DiskEventKind.Write, 0L, KeyFile.SizeBytes), (last[0].Kind, last[0].OffsetBytes, last[0].Data.Length));
            Assert.Equal(DiskEventKind.Flush, last[1].Kind);
        }
    }

    private void Judge(KeyWorld world, DiskImage image, Dictionary<string, byte> before, bool isOver, int depth)
    {
        if (isOver)
            RequireGone(world, image, KeysOf(world), "when the step was answered");
        var directory = new SimulatedDirectory(image);
        var store = DiskStore.Begin(Store.Open(directory, options), notice: null);
        try
        {
            var found = store.ListDisks().Select(static disk => disk.Name).ToList();
            foreach (var name in found)
            {
                Assert.True(before.ContainsKey(name) || world.Disks.ContainsKey(name), $"disk '{name}' is there");
                var value = KeyWorld.Read(store, name);
                Assert.True(
                    (before.TryGetValue(name, out var old) && value == old) || (world.Disks.TryGetValue(name, out var now) && value == now), $"disk '{name}' shows {value}");
            }

            foreach (var name in before.Keys.Intersect(world.Disks.Keys))
                Assert.Contains(name, found);
            var keys = KeyWorld.KeysOf(store).ToDictionary(static pair => pair.Key, static pair => pair.Value.Generation, StringComparer.Ordinal);
            Assert.Equal(keys.Keys.Order(StringComparer.Ordinal), directory.Snapshot().Files.Keys.Where(static name => name.StartsWith("keys/", StringComparison.Ordinal)).Order(StringComparer.Ordinal));

            // Durably so: the power may fail right behind the opening.
            var again = new CrashStates(image, directory.Journal);
            again.AdvanceTo(directory.Journal.Count);
            RequireGone(world, again.Least(), keys, "when the store was open again");
        }
        finally
        {
            store.Store.Crash();
        }

        if (depth == 0 && directory.Journal.Exists(static what => what.Name.StartsWith("keys", StringComparison.Ordinal)) && (openings++ % RecoveriesOneIn == 0 || IsSoak))
            CutRecovery(world, image, directory.Journal, before);
    }

    /// <summary>The power fails again at each place of an opening that had to do with keys.</summary>
    private void CutRecovery(KeyWorld world, DiskImage image, List<DiskEvent> journal, Dictionary<string, byte> before)
    {
        var again = new CrashStates(image, journal);
        while (again.Position < journal.Count)
        {
            again.AdvanceTo(again.Position + 1);
            if (!journal[again.Position - 1].Name.StartsWith("keys", StringComparison.Ordinal))
                continue;
            foreach (var cut in new[] { again.Least(), again.Most(), again.Any(new Random(again.Position)) })
            {
                if (!recovered.Add(cut.Hash()))
                    continue;
                recoveries++;
                Judge(world, cut, before, isOver: false, depth: 1);
            }
        }
    }

    private static Dictionary<string, ulong> KeysOf(KeyWorld world)
    {
        // The newest generation that was seen of each file whose disks are there: the world's own store is gone by now.
        var keys = new Dictionary<string, ulong>(StringComparer.Ordinal);
        foreach (var seen in world.Seen.Where(seen => world.Files.Contains(seen.File)))
            keys[seen.File] = Math.Max(keys.GetValueOrDefault(seen.File), seen.Generation);
        return keys;
    }

    private static void RequireGone(KeyWorld world, DiskImage image, Dictionary<string, ulong> inForce, string when)
    {
        foreach (var key in world.Seen)
        {
            if (inForce.TryGetValue(key.File, out var generation) && generation <= key.Generation)
                continue;
            if (KeyWorld.Find(image, key) is { } file)
                throw new XunitException($"generation {key.Generation} of {key.File} is still in '{file}' {when}");
        }
    }
}
