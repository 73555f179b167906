using CowScsi.Engine;
using CowScsi.Layers;
using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>
/// One sequence of operations, run once with a journal; then each disk state that a loss of power inside its last operation may leave is
/// opened by the engine and compared with the oracle. (What a loss inside an earlier operation leaves, a shorter sequence shows.)
/// </summary>
internal sealed class ExhaustiveRun : IDisposable
{
    /// <summary>Volatile units of which all subsets are tried; see <see cref="CrashStates.Enumerate"/>.</summary>
    public const int SubsetsMax = 4;

    /// <summary>
    /// Of the states one in so many is also gone through by the store's checker, which rebuilds the map to compare it; all of them are
    /// read and compared with the oracle.
    /// </summary>
    private const ulong ChecksOneIn = 8;

    private readonly NativeBuffer memory = new(20 * StoreFormat.BlockBytes);
    private readonly StoreOptions options = SimulatedOptions.With(new SimulatedTime());
    private readonly Dictionary<ulong, Recovered> seen = [];
    private readonly int recoveryCrashesOneIn;

    /// <param name="recoveryCrashesOneIn">Of how many states one has the power fail again while it is recovered.</param>
    public ExhaustiveRun(int recoveryCrashesOneIn) => this.recoveryCrashesOneIn = recoveryCrashesOneIn;

    public ExhaustiveCounts Counts { get; } = new();

    /// <summary>Explores one sequence from a start; true where each operation had something to act on.</summary>
    public bool Explore(ExhaustiveStart start, IReadOnlyList<SimulatedVerb> sequence, bool writesEarly)
    {
        seen.Clear();
        using var store = start.Begin(options, memory);
        var last = 0;
        for (var step = 0; step < sequence.Count; step++)
        {
            last = store.Directory.Journal.Count;
            if (!ExhaustiveOperation.Do(store, sequence[step], step))
                return false;
            if (writesEarly)
                StepWriter(store);
        }

        store.Store.Store.Crash();
        Counts.Sequences++;
        var states = new CrashStates(store.Directory.Image, store.Directory.Journal);
        states.AdvanceTo(last);
        while (states.Position < store.Directory.Journal.Count)
        {
            states.AdvanceTo(states.Position + 1);
            Counts.CrashPoints++;
            foreach (var disk in states.Enumerate(SubsetsMax))
            {
                Counts.States++;
                var hash = disk.Hash();
                if (!seen.TryGetValue(hash, out var recovered))
                {
                    seen.Add(hash, recovered = Recovered.Open(disk, options, memory, hash % ChecksOneIn == 0));
                    Counts.DistinctStates++;
                    Judge(store, states, recovered, sequence, writesEarly, "");
                    if (recoveryCrashesOneIn > 0 && hash % (ulong)recoveryCrashesOneIn == 0)
                        CrashRecovery(store, states, disk, recovered, sequence, writesEarly);
                    recovered.LetGo();
                }
                else
                {
                    Judge(store, states, recovered, sequence, writesEarly, "");
                }
            }
        }

        return true;
    }

    public void Dispose() => memory.Dispose();

    /// <summary>Ends the open batch and has it written, not flushed.</summary>
    private static void StepWriter(SimulatedStore store)
    {
        _ = store.Store.Store.Log.Cut();
        while (store.Store.Store.StepWriter())
        {
        }
    }

    /// <summary>The power fails again at each place of a recovery's own journal: with nothing and with all of what is volatile there.</summary>
    private void CrashRecovery(SimulatedStore store, CrashStates states, DiskImage disk, Recovered first, IReadOnlyList<SimulatedVerb> sequence, bool writesEarly)
    {
        var journal = first.Directory!.Journal;
        var again = new CrashStates(disk, journal);
        for (var place = 1; place <= first.OpeningEvents; place++)
        {
            again.AdvanceTo(place);
            foreach (var image in new[] { again.Least(), again.Most() })
            {
                var hash = image.Hash();
                if (seen.ContainsKey(hash))
                    continue;
                Counts.RecoveryStates++;
                var second = Recovered.Open(image, options, memory, hash % ChecksOneIn == 0);
                seen.Add(hash, second);
                second.LetGo();
                Judge(store, states, second, sequence, writesEarly, $", and again at event {place} of the recovery ({journal[place - 1]})");
                // A recovery that was through is durable: what it showed stays.
                if (place == first.OpeningEvents && second.Reading!.Hash != first.Reading!.Hash)
                    throw new XunitException($"{Describe(states, store, sequence, writesEarly)}: what a whole recovery showed is not what the next one shows");
            }
        }
    }

    private void Judge(SimulatedStore store, CrashStates states, Recovered recovered, IReadOnlyList<SimulatedVerb> sequence, bool writesEarly, string more)
    {
        if (recovered.Reading is null || !recovered.IsClean)
            throw new XunitException($"{Describe(states, store, sequence, writesEarly)}{more}: {recovered.Text}");
        if (recovered.RebuiltBecause is { } reason)
            throw new XunitException($"{Describe(states, store, sequence, writesEarly)}{more}: a loss of power cost the map: {reason}");
        if (recovered.NextExtentId < states.NextExtentId)
            throw new XunitException($"{Describe(states, store, sequence, writesEarly)}{more}: extent id {recovered.NextExtentId} is given out again");
        if (store.Oracle.Find(recovered.Reading, states.Durable, states.Issued) < 0)
            throw new XunitException($"{Describe(states, store, sequence, writesEarly)}{more}: {store.Oracle.Explain(recovered.Reading, states.Durable, states.Issued)}");
    }

    private static string Describe(CrashStates states, SimulatedStore store, IReadOnlyList<SimulatedVerb> sequence, bool writesEarly) =>
        $"{string.Join(", ", sequence)}{(writesEarly ? " (written early)" : "")}, power lost behind event {states.Position} ({store.Directory.Journal[states.Position - 1]})";
}

/// <summary>How much was explored.</summary>
internal sealed class ExhaustiveCounts
{
    public long Sequences { get; set; }

    public long CrashPoints { get; set; }

    /// <summary>Disk states that were judged.</summary>
    public long States { get; set; }

    /// <summary>Of these, opened and compared; the others have the same bytes as one of the same sequence.</summary>
    public long DistinctStates { get; set; }

    /// <summary>States that a loss of power in the middle of a recovery leaves.</summary>
    public long RecoveryStates { get; set; }

    public void Add(ExhaustiveCounts other)
    {
        Sequences += other.Sequences;
        CrashPoints += other.CrashPoints;
        States += other.States;
        DistinctStates += other.DistinctStates;
        RecoveryStates += other.RecoveryStates;
    }

    public override string ToString() =>
        $"{Sequences} sequences, {CrashPoints} crash points, {States} states, {DistinctStates} distinct, {RecoveryStates} more of interrupted recoveries";
}
