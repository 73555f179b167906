namespace CowScsi.Engine;

/// <summary>
/// Taking back what deletes left: map pages of layers that are gone, and pages of hidden layers that nothing reaches. Segments that
/// nothing points into any more go with the next checkpoint. (Segments that are partly dead stay.)
/// </summary>
public sealed partial class Store
{
    private volatile bool reclaimWanted;

    /// <summary>Drops unreachable pages; true where there were any. One thread at a time: the keeper.</summary>
    private bool Reclaim()
    {
        if (!reclaimWanted || log!.Failure is not null)
            return false;
        reclaimWanted = false;
        List<LayerState> gone = [];
        List<(LayerState State, LayerId Id)> hidden = [];
        Dictionary<LayerId, List<LayerId>> children = [];
        HashSet<LayerId> named;
        lock (catalogLock)
        {
            named = catalog.NamedLayers();
            foreach (var row in catalog.Layers)
            {
                if (!row.Parent.IsNone)
                    (children.TryGetValue(row.Parent, out var list) ? list : children[row.Parent] = []).Add(row.Id);
            }

            foreach (var state in Layers.All)
            {
                if (!catalog.Contains(state.Id))
                    gone.Add(state);
                else if (!named.Contains(state.Id))
                    hidden.Add((state, state.Id));
            }
        }

        var any = gone.Count > 0;
        foreach (var state in gone)
        {
            if (!DropLayer(state))
                return any;
        }

        foreach (var (state, id) in hidden)
            any |= DropUnreachable(state, id, children, named);
        return any;
    }

    /// <summary>Drops all pages of a layer that is gone; false where the store is being closed meanwhile.</summary>
    private bool DropLayer(LayerState state)
    {
        foreach (var page in state.Pages.Pages())
        {
            if (keeperStop.IsSet)
                return false;
            DropPage(state, page);
        }

        Layers.Remove(state.Id);
        return true;
    }

    private void QueueLeftovers() => reclaimWanted = true;

    private bool DropUnreachable(LayerState state, LayerId id, Dictionary<LayerId, List<LayerId>> children, HashSet<LayerId> named)
    {
        var any = false;
        Span<ulong> seen = stackalloc ulong[PageSet.ChunkWords];
        foreach (var (chunk, words) in state.Pages.Chunks)
        {
            seen.Clear();
            foreach (var child in children.GetValueOrDefault(id) ?? [])
                AddSeenThrough(child, chunk, seen, children, named);
            for (var i = 0; i < PageSet.ChunkWords; i++)
            {
                for (var dead = words[i] & ~seen[i]; dead != 0; dead &= dead - 1)
                {
                    if (keeperStop.IsSet)
                        return any;
                    var bit = System.Numerics.BitOperations.TrailingZeroCount(dead);
                    DropPage(state, new PageNumber((chunk * PageSet.ChunkPages) + (uint)(i * 64) + (uint)bit));
                    any = true;
                }
            }
        }

        return any;
    }

    /// <summary>Adds the pages of a chunk that a layer, or what stands on it, sees of the layers beneath it.</summary>
    private void AddSeenThrough(LayerId top, uint chunk, Span<ulong> seen, Dictionary<LayerId, List<LayerId>> children, HashSet<LayerId> named)
    {
        // An explicit stack: lines of ten thousand snapshots are deep. Each entry carries what the layers above it cover so far.
        var pending = new Stack<(LayerId Layer, ulong[] Covered)>();
        pending.Push((top, new ulong[PageSet.ChunkWords]));
        while (pending.TryPop(out var at))
        {
            var own = Layers.Find(at.Layer)?.Pages.ChunkOrNull(chunk);
            var covered = at.Covered;
            if (own is not null)
            {
                covered = covered.AsSpan().ToArray();
                for (var i = 0; i < covered.Length; i++)
                    covered[i] |= Volatile.Read(ref own[i]);
            }

            if (named.Contains(at.Layer))
            {
                for (var i = 0; i < covered.Length; i++)
                    seen[i] |= ~covered[i];
            }

            foreach (var child in children.GetValueOrDefault(at.Layer) ?? [])
                pending.Push((child, covered));
        }
    }

    internal void DropPage(LayerState state, PageNumber number)
    {
        var stripe = Stripes.LockOf(PageStripes.IndexOf(number));
        var session = map!.Rent();
        try
        {
            // The page is unreachable: nobody changes it, so it may be fetched outside the lock.
            var outcome = session.TryRead(state.Id, number, out var page);
            if (outcome == MapOutcome.OnDisk)
                outcome = session.WaitForRead(state.Id, number, out page);
            lock (stripe)
            {
                if (outcome == MapOutcome.Found)
                {
                    var edit = new PageEdit { Page = page };
                    for (var i = 0; i < StoreFormat.PageBlocks; i++)
                        edit.Forget(this, i);
                    state.Count(edit.StoredChange, edit.BlocksChange);
                }

                session.Delete(state.Id, number);
                state.Pages.Remove(number);
                Stripes.Version(PageStripes.IndexOf(number))++;
            }
        }
        finally
        {
            map.Return(session);
        }
    }
}
