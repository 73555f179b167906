namespace CowScsi.Tests.Unit.Kill;

/// <summary>One write command. Times count the events of a round: commands sent and answers taken, as the one writer saw them.</summary>
internal sealed class IssuedWrite(long sequence, int block, int count, bool isForced, long issuedAt)
{
    public const long Never = long.MaxValue;

    public long Sequence => sequence;

    public int Block => block;

    public int Count => count;

    /// <summary>Force unit access: durable when it is answered.</summary>
    public bool IsForced => isForced;

    public long IssuedAt => issuedAt;

    /// <summary>When it was answered with GOOD, or <see cref="Never"/>.</summary>
    public long AckedAt { get; set; } = Never;

    public override string ToString() =>
        $"write {sequence} (blocks {block}+{count}{(isForced ? ", FUA" : "")}, sent at {issuedAt}, " +
        (AckedAt == Never ? "not answered)" : $"answered at {AckedAt})");
}

/// <summary>What a state must hold besides being a prefix, in event times.</summary>
/// <param name="Floor">Writes that were answered before this are in the state.</param>
/// <param name="ForcedFloor">Writes with FUA that were answered before this are in the state.</param>
/// <param name="Ceiling">Writes that were sent at this time or later are not.</param>
internal readonly record struct StateBounds(long Floor, long ForcedFloor, long Ceiling);

/// <summary>
/// The writes of one round over a settled state, and the judge of what is left of them. A state is legal if and only if
/// <list type="number">
/// <item>each block shows its settled write or one of this round that covers it, sent before the ceiling;</item>
/// <item>with k the newest write that shows, each write that was answered before k was sent is there: each of its blocks shows it or a
/// later one. With one command outstanding at a time this is: all before k;</item>
/// <item>so is each write below the bounds' floors (what was flushed);</item>
/// <item>of a write that is not wholly there, the blocks that are there come before those that are not.</item>
/// </list>
/// Writes that are outstanding together never overlap, so the order on each block is that of the sequence numbers.
/// </summary>
internal sealed class WriteHistory(int blocks)
{
    private readonly List<IssuedWrite> writes = [];
    private long[] settled = new long[blocks];
    private long now;
    private long lastSequence;
    private long firstSequence = 1;

    public int Blocks => blocks;

    /// <summary>All that was answered before this time has been flushed.</summary>
    public long FlushedBefore { get; private set; }

    public int Acknowledged { get; private set; }

    /// <summary>A point in time after all events so far, and before all later ones.</summary>
    public long Tick() => ++now;

    public IssuedWrite Issue(int block, int count, bool isForced)
    {
        var write = new IssuedWrite(++lastSequence, block, count, isForced, Tick());
        writes.Add(write);
        return write;
    }

    public void Acknowledge(IssuedWrite write)
    {
        write.AckedAt = Tick();
        Acknowledged++;
    }

    /// <summary>Something that makes durable what had been answered before it was sent has been answered.</summary>
    public void Flushed(long sentAt) => FlushedBefore = Math.Max(FlushedBefore, sentAt);

    /// <summary>What is wrong with a state, in words; nothing where it is legal.</summary>
    public List<string> Judge(ReadOnlySpan<long> shown, StateBounds bounds)
    {
        List<string> problems = [];
        JudgeBlocks(shown, bounds, problems);
        var newest = Newest(shown);
        var horizon = newest?.IssuedAt ?? 0;
        foreach (var write in writes)
        {
            var missing = 0;
            var isHole = false;
            for (var block = write.Block; block < write.Block + write.Count; block++)
            {
                if (shown[block] < write.Sequence)
                    missing++;
                else if (missing > 0 && shown[block] == write.Sequence)
                    isHole = true;
            }

            if (missing == 0)
                continue;
            var state = $"{missing} of {write.Count} blocks of {write} are missing, block {write.Block} shows {shown[write.Block]}";
            if (write.AckedAt < bounds.Floor)
                problems.Add($"flushed and lost: {state}; all before {bounds.Floor} was flushed");
            else if (write.IsForced && write.AckedAt < bounds.ForcedFloor)
                problems.Add($"forced and lost: {state}");
            else if (write.AckedAt < horizon)
                problems.Add($"a hole: {state}, but {newest} is there");
            else if (isHole)
                problems.Add($"a hole inside a write: {state}");
        }

        return problems;
    }

    /// <summary>The newest write of this round that shows, or null.</summary>
    public IssuedWrite? Newest(ReadOnlySpan<long> shown)
    {
        IssuedWrite? newest = null;
        foreach (var sequence in shown)
        {
            if (Find(sequence) is { } write && (newest is null || write.Sequence > newest.Sequence))
                newest = write;
        }

        return newest;
    }

    /// <summary>How many answered writes came after the newest one that shows: those that the kill took, as it may.</summary>
    public int Lost(ReadOnlySpan<long> shown)
    {
        var newest = Newest(shown)?.Sequence ?? 0;
        return writes.Count(write => write.Sequence > newest && write.AckedAt != IssuedWrite.Never);
    }

    /// <summary>The history that begins with a legal state that was seen, as <see cref="Settle"/> has it; this one stays as it is.</summary>
    public WriteHistory Continue(long[] shown) =>
        new(blocks) { settled = shown, now = now, lastSequence = lastSequence, firstSequence = lastSequence + 1 };

    /// <summary>A legal state that was seen is what the next round begins with: nothing of it may go, nothing else may come back.</summary>
    public void Settle(long[] shown)
    {
        settled = shown;
        writes.Clear();
        firstSequence = lastSequence + 1;
        FlushedBefore = 0;
        Acknowledged = 0;
    }

    private void JudgeBlocks(ReadOnlySpan<long> shown, StateBounds bounds, List<string> problems)
    {
        for (var block = 0; block < blocks; block++)
        {
            var sequence = shown[block];
            if (sequence == settled[block])
                continue;
            if (Find(sequence) is not { } write)
                problems.Add($"block {block} shows {sequence}, which is gone; it was {settled[block]} when the round began");
            else if (block < write.Block || block >= write.Block + write.Count)
                problems.Add($"block {block} shows {write}, which is not for it");
            else if (write.IssuedAt >= bounds.Ceiling)
                problems.Add($"block {block} shows {write}, which came after {bounds.Ceiling}");
        }
    }

    private IssuedWrite? Find(long sequence) =>
        sequence >= firstSequence && sequence <= lastSequence ? writes[(int)(sequence - firstSequence)] : null;
}
