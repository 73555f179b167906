namespace CowScsi.Engine;

/// <summary>
/// Keeps readers of several pages from seeing a part of an atomic write. An atomic change is made with all its stripes held, but a read
/// looks its pages up one after the other. So it asks afterwards whether an atomic change of a page of its came between, and is done again
/// if so. A read that is overtaken again and again holds atomic changes off: they wait on their waiting threads until it has ended.
/// </summary>
/// <remarks>Every field is guarded by <see cref="gate"/>; the two counters are also read without it.</remarks>
internal sealed class AtomicChanges
{
    /// <summary>Changes whose pages are remembered; a read during which more are made counts as overtaken.</summary>
    private const int RememberedMax = 64;

    private readonly object gate = new();
    private readonly (uint First, uint Last)[] remembered = new (uint First, uint Last)[RememberedMax];
    private long begun;
    private long settled;
    private int applying;
    private int admitted;
    private int holders;

    /// <summary>Number of the next change; all before it are in the map as a whole.</summary>
    public long Settled => Volatile.Read(ref settled);

    /// <summary>
    /// Lets an atomic change in, before it takes any lock; false where a reader holds changes off and the caller may not wait.
    /// </summary>
    public bool TryEnter(bool mayWait)
    {
        lock (gate)
        {
            while (holders > 0)
            {
                if (!mayWait)
                    return false;
                Monitor.Wait(gate);
            }

            admitted++;
            return true;
        }
    }

    public void Leave()
    {
        lock (gate)
        {
            if (--admitted == 0 && holders > 0)
                Monitor.PulseAll(gate);
        }
    }

    /// <summary>With all stripes of the pages held, before the first of them changes in the map.</summary>
    public void BeginApply(uint firstPage, uint lastPage)
    {
        lock (gate)
        {
            remembered[begun % RememberedMax] = (firstPage, lastPage);
            applying++;
            Volatile.Write(ref begun, begun + 1);
        }
    }

    public void EndApply()
    {
        lock (gate)
        {
            // While another one is still being applied, this one counts as not settled either: a reader is then careful once too often.
            if (--applying == 0)
                Volatile.Write(ref settled, begun);
        }
    }

    /// <summary>
    /// Whether a reader of these pages, which took <see cref="Settled"/> before its first look-up, may have seen a part of a change. What it
    /// looked up under a stripe was either there before a change began, or the change had been counted.
    /// </summary>
    public bool WasOvertaken(long settledBefore, uint firstPage, uint lastPage)
    {
        if (Volatile.Read(ref begun) == settledBefore)
            return false;
        lock (gate)
        {
            if (begun - settledBefore > RememberedMax)
                return true;
            for (var number = settledBefore; number < begun; number++)
            {
                var (first, last) = remembered[number % RememberedMax];
                if (first <= lastPage && firstPage <= last)
                    return true;
            }

            return false;
        }
    }

    /// <summary>Holds atomic changes off until <see cref="LetGo"/>; waits for those that are under way. On a thread that may wait.</summary>
    public void HoldOff()
    {
        lock (gate)
        {
            holders++;
            while (admitted > 0)
                Monitor.Wait(gate);
        }
    }

    public void LetGo()
    {
        lock (gate)
        {
            if (--holders == 0)
                Monitor.PulseAll(gate);
        }
    }
}
