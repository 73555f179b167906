using System.Runtime.ExceptionServices;

namespace CowScsi.Engine;

/// <summary>
/// Blocks of a rebuild on their way into the map. They are gathered in the order of the log and applied page by page, so that a page that
/// was written in a hundred places is read and written once a window and not a hundred times. Of entries for the same block the last in the
/// log counts; parts of a window have different pages, and go in side by side.
/// </summary>
internal sealed class RebuildWindow
{
    /// <summary>What a block takes here: the key of its page, its number in the order of keys, its entry and its index in the page.</summary>
    private const int BytesPerBlock = sizeof(ulong) + sizeof(int) + MapEntry.SizeBytes + sizeof(byte);

    /// <summary>Blocks below which a part is not worth a thread.</summary>
    private const int PartBlocksMin = 1 << 16;

    private readonly Store store;
    private readonly int blocksMax;
    private ulong[] keys = [];
    private int[] order = [];
    private MapEntry[] entries = [];
    private byte[] indexes = [];
    private int count;

    /// <param name="memoryBytes">Memory for what is gathered.</param>
    public RebuildWindow(Store store, long memoryBytes)
    {
        this.store = store;
        blocksMax = (int)Math.Clamp(memoryBytes / BytesPerBlock, StoreFormat.PageBlocks, Array.MaxLength);
    }

    /// <summary>Adds the blocks of a record, in the order of the log.</summary>
    public void Add(Descriptor descriptor, in MapPage page, ushort mask)
    {
        if (count + StoreFormat.PageBlocks > keys.Length)
            MakeRoom();
        var key = new MapKey(descriptor.Layer, descriptor.Page).Value;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
        {
            if (((mask >> block) & 1) == 0)
                continue;
            keys[count] = key;
            order[count] = count;
            entries[count] = page[block];
            indexes[count] = (byte)block;
            count++;
        }
    }

    /// <summary>Puts what was gathered into the map.</summary>
    public void Apply()
    {
        Array.Sort(keys, order, 0, count);
        var parts = Math.Clamp(count / PartBlocksMin, 1, Environment.ProcessorCount);
        if (parts == 1)
            Apply(0, count);
        else
            ApplyAll(parts);
        count = 0;
    }

    /// <summary>Side by side; what a part throws is thrown as it is, so that the caller knows it by its cause.</summary>
    private void ApplyAll(int parts)
    {
        try
        {
            Parallel.For(0, parts, part => Apply(PageStart(part, parts), PageStart(part + 1, parts)));
        }
        catch (AggregateException failures)
        {
            ExceptionDispatchInfo.Throw(failures.InnerExceptions[0]);
        }
    }

    private void MakeRoom()
    {
        const int BlocksFirst = 4096;
        if (keys.Length == blocksMax)
        {
            Apply();
            return;
        }

        var room = (int)Math.Min(Math.Max(BlocksFirst, 2L * keys.Length), blocksMax);
        Array.Resize(ref keys, room);
        Array.Resize(ref order, room);
        Array.Resize(ref entries, room);
        Array.Resize(ref indexes, room);
    }

    /// <summary>Where a part begins: at the first block of a page.</summary>
    private int PageStart(int part, int parts)
    {
        var at = (int)((long)count * part / parts);
        while (at > 0 && at < count && keys[at] == keys[at - 1])
            at++;
        return at;
    }

    private void Apply(int from, int to)
    {
        var session = store.Map.Rent();
        try
        {
            while (from < to)
            {
                var end = from + 1;
                while (end < to && keys[end] == keys[from])
                    end++;
                ApplyPage(session, keys[from], order.AsSpan(from, end - from));
                from = end;
            }
        }
        finally
        {
            store.Map.Return(session);
        }
    }

    private void ApplyPage(MapSession session, ulong key, Span<int> numbers)
    {
        numbers.Sort(); // The keys were not sorted in a stable way.
        var layer = store.Layers.GetOrAdd(new LayerId((uint)(key >> 32)));
        var page = new PageNumber((uint)key);
        var edit = default(PageEdit);
        if (layer.Pages.Contains(page))
            edit.Page = LogReplay.ReadPage(session, layer.Id, page);
        foreach (var number in numbers)
        {
            ref readonly var entry = ref entries[number];
            edit.Set(store, indexes[number], in entry);
        }

        session.Write(layer.Id, page, in edit.Page);
        layer.Pages.Add(page);
        layer.Count(edit.StoredChange, edit.BlocksChange);
    }
}
