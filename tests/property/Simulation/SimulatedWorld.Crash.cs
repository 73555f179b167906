using CowScsi.Engine;
using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>Closing, killing, losing power; and what is found afterwards.</summary>
internal sealed partial class SimulatedWorld
{
    /// <summary>States that are opened and judged at each loss of power, beside the one that the history goes on from.</summary>
    private const int ProbesPerCut = 3;

    /// <summary>Losses of power in the middle of recoveries from losses of power.</summary>
    private const int RecoveryCutsMax = 3;

    /// <summary>Events of the journal in which half of all losses of power fall: what was just done.</summary>
    private const int RecentEvents = 24;

    public long StatesOpened { get; private set; }

    private bool AttemptCrash(HistoryStep what)
    {
        switch (what.Verb)
        {
            case HistoryVerb.Reopen:
                if (!store.Close())
                    return false;
                GoOn(store.Directory, store.Oracle.Issued, store.Oracle.Issued);
                return true;
            case HistoryVerb.EndProcess:
                EndProcess(new Random(what.Place));
                return true;
            case HistoryVerb.CutPower:
                CutPower(new Random(what.Place));
                return true;
            default:
                return AttemptFault(what);
        }
    }

    /// <summary>Everything must read as the model says, now.</summary>
    private void ReadAll()
    {
        store.Directory.Faults.Clear();
        var reading = store.Read();
        if (!reading.IsWhole || store.Oracle.Find(reading, store.Oracle.Issued, store.Oracle.Issued) < 0)
            throw new XunitException($"the running store: {store.Oracle.Explain(reading, store.Oracle.Issued, store.Oracle.Issued)}");
    }

    /// <summary>The process dies; what it gave to the kernel is there, and is as volatile as before.</summary>
    private void EndProcess(Random random)
    {
        if (flushFailed)
        {
            CutPower(random); // What the kernel shows need not be what the disk has; nobody can tell before the power was off.
            return;
        }

        var given = store.Store.Store.Log.NextExtentId;
        store.Store.Store.Crash();
        var before = store.Directory.Journal.Count;
        var (old, low, high) = (store.Oracle, store.Durable, store.Oracle.Issued);
        var found = GoOn(store.Directory, low, high);
        // The power may also have failed while that recovery was under way.
        var states = new CrashStates(store.Directory.Image, store.Directory.Journal);
        states.AdvanceTo(random.Next(before, store.OpenedAt));
        Probe(states.Any(random), old, low, found, given, random, depth: 0);
        RefuseReuse(given, store.Store.Store.Log.NextExtentId);
    }

    private void CutPower(Random random)
    {
        if (!store.Store.Store.IsDisposed)
            store.Store.Store.Crash();
        var journal = store.Directory.Journal;
        var states = new CrashStates(store.Directory.Image, journal);
        var place = random.Next(3) switch
        {
            0 => journal.Count,
            1 => random.Next(Math.Max(store.OpenedAt, journal.Count - RecentEvents), journal.Count + 1),
            _ => random.Next(store.OpenedAt, journal.Count + 1),
        };
        states.AdvanceTo(place);
        var (low, high) = (states.Durable, Math.Min(states.Issued, store.Oracle.Issued));
        for (var i = 0; i < ProbesPerCut; i++)
            Probe(states.Any(random), store.Oracle, low, high, states.NextExtentId, random, depth: 0);
        var given = states.NextExtentId;
        GoOn(new SimulatedDirectory(states.Any(random)), low, high);
        RefuseReuse(given, store.Store.Store.Log.NextExtentId);
    }

    /// <summary>Opens a state, judges it and drops it; perhaps the power fails again in the middle.</summary>
    private void Probe(DiskImage image, Oracle oracle, int low, int high, ulong given, Random random, int depth)
    {
        StatesOpened++;
        var recovered = Recovered.Open(image, options, memory, isChecked: random.Next(3) == 0);
        if (!recovered.IsClean)
            throw new XunitException($"after {depth + 1} losses of power: {recovered.Text}");
        if (recovered.RebuiltBecause is { } reason && store.Directory.Faults.Injected == 0)
            throw new XunitException($"after {depth + 1} losses of power, and without any fault, the map is lost: {reason}");
        RefuseReuse(given, recovered.NextExtentId);
        if (oracle.Find(recovered.Reading!, low, high) is var found && found < 0)
            throw new XunitException($"after {depth + 1} losses of power: {oracle.Explain(recovered.Reading!, low, high)}");
        if (depth == RecoveryCutsMax || random.Next(2) == 0)
            return;
        var states = new CrashStates(image, recovered.Directory!.Journal);
        var isThrough = random.Next(4) == 0;
        states.AdvanceTo(isThrough ? recovered.Directory!.Journal.Count : random.Next(recovered.OpeningEvents + 1));
        Probe(states.Any(random), oracle, isThrough ? found : low, isThrough ? found : high, isThrough ? recovered.NextExtentId : given, random, depth + 1);
    }

    /// <summary>An extent id is a cipher's tweak: one that may have been used is never used again, whatever became of its extent.</summary>
    private static void RefuseReuse(ulong given, ulong next)
    {
        if (next < given)
            throw new XunitException($"extent id {next} is given out again: before the crash the next was {given}");
    }

    /// <summary>Opens what is there and goes on with it; an opening that a planned fault has refused is done again without.</summary>
    private int GoOn(SimulatedDirectory directory, int low, int high)
    {
        StatesOpened++;
        var other = store.Oracle;
        int found;
        try
        {
            store = SimulatedStore.Recover(directory, other, low, high, options, memory, out found);
        }
        catch (StoreException) when (directory.Faults.Injected > 0)
        {
            directory.Faults.Clear();
            store = SimulatedStore.Recover(directory, other, low, high, options, memory, out found);
        }

        flushFailed = false;
        return found;
    }
}
