namespace CowScsi.VhostUser.Rings;

/// <summary>
/// What is under way in a split queue, in memory that outlives this process. The order of the stores is what makes it good at every
/// moment: see <see cref="OnTaken"/>, <see cref="OnPut"/> and <see cref="OnPublished"/>.
/// </summary>
/// <remarks>
/// QueueRegionSplit: features 0 (8), version 8 (2), desc_num 10 (2), last_batch_head 12 (2), used_idx 14 (2); then for each descriptor
/// inflight 0 (1), next 6 (2), counter 8 (8).
/// </remarks>
internal sealed unsafe class SplitInflight
{
    public const int HeaderBytes = 16;
    public const int EntryBytes = 16;

    private const int VersionOffset = 8;
    private const int CountOffset = 10;
    private const int LastBatchHeadOffset = 12;
    private const int UsedIndexOffset = 14;
    private const int NextOffset = 6;
    private const int CounterOffset = 8;

    private readonly nint region;
    private readonly int size;
    private readonly ushort[] batch;
    private int batchCount;
    private ulong counter;
    private ushort[] replayed = [];
    private int replayedNext;

    public SplitInflight(nint region, int size)
    {
        this.region = region;
        this.size = size;
        batch = new ushort[size];
    }

    /// <summary>
    /// Takes up what an earlier back end left: finishes a batch that it had shown to the driver but not yet struck out, and notes what was
    /// under way in its order. An empty region is made ready.
    /// </summary>
    /// <param name="usedIndex">The index in the used ring.</param>
    /// <returns>How many requests are to be carried out again; -1 where no earlier back end left anything.</returns>
    public int Recover(ushort usedIndex)
    {
        if (*(ushort*)(region + VersionOffset) != InflightLayout.Version || *(ushort*)(region + CountOffset) != size)
        {
            new Span<byte>((void*)region, HeaderBytes + (size * EntryBytes)).Clear();
            *(ushort*)(region + CountOffset) = (ushort)size;
            CrashPoint.Reach();
            *(ushort*)(region + UsedIndexOffset) = usedIndex;
            CrashPoint.Reach();
            Volatile.Write(ref *(ushort*)(region + VersionOffset), InflightLayout.Version);
            CrashPoint.Reach();
            return -1;
        }

        var head = *(ushort*)(region + LastBatchHeadOffset);
        var shown = (ushort)(usedIndex - *(ushort*)(region + UsedIndexOffset));
        for (var i = 0; i < shown && i < size && head < size; i++)
        {
            *(byte*)Entry(head) = 0;
            CrashPoint.Reach();
            head = *(ushort*)(Entry(head) + NextOffset);
        }

        *(ushort*)(region + UsedIndexOffset) = usedIndex;
        CrashPoint.Reach();
        return CollectReplayed();
    }

    /// <summary>The next request to carry out again, oldest first; false once there is none.</summary>
    public bool TryTakeReplayed(out ushort head)
    {
        if (replayedNext == replayed.Length)
        {
            head = 0;
            return false;
        }

        head = replayed[replayedNext++];
        return true;
    }

    /// <summary>A request was taken: its turn first, then that it is under way.</summary>
    public void OnTaken(ushort head)
    {
        *(ulong*)(Entry(head) + CounterOffset) = counter++;
        CrashPoint.Reach();
        Volatile.Write(ref *(byte*)Entry(head), 1);
        CrashPoint.Reach();
    }

    /// <summary>A request's answer stands in the used ring, where the driver does not see it yet: it joins the batch.</summary>
    public void OnPut(ushort head)
    {
        *(ushort*)(Entry(head) + NextOffset) = *(ushort*)(region + LastBatchHeadOffset);
        CrashPoint.Reach();
        Volatile.Write(ref *(ushort*)(region + LastBatchHeadOffset), head);
        CrashPoint.Reach();
        batch[batchCount++] = head;
    }

    /// <summary>The driver sees the batch: it is struck out, and last of all the index is noted.</summary>
    public void OnPublished(ushort usedIndex)
    {
        for (var i = 0; i < batchCount; i++)
        {
            Volatile.Write(ref *(byte*)Entry(batch[i]), 0);
            CrashPoint.Reach();
        }

        batchCount = 0;
        Volatile.Write(ref *(ushort*)(region + UsedIndexOffset), usedIndex);
        CrashPoint.Reach();
    }

    /// <summary>
    /// The ring was stopped with nothing under way: the region is empty again, so that whoever starts next begins where the front end says.
    /// </summary>
    public void Retire() => Volatile.Write(ref *(ushort*)(region + VersionOffset), 0);

    private int CollectReplayed()
    {
        var found = new List<(ulong Counter, ushort Head)>();
        for (var i = 0; i < size; i++)
        {
            if (*(byte*)Entry(i) != 0)
                found.Add((*(ulong*)(Entry(i) + CounterOffset), (ushort)i));
        }

        found.Sort();
        replayed = new ushort[found.Count];
        for (var i = 0; i < replayed.Length; i++)
            replayed[i] = found[i].Head;
        counter = found.Count > 0 ? found[^1].Counter + 1 : 0;
        return replayed.Length;
    }

    private nint Entry(int index) => region + HeaderBytes + (index * EntryBytes);
}
