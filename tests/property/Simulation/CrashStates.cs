namespace CowScsi.Tests.Property;

/// <summary>
/// The states that a disk may be in when the power fails at a place of a journal: what was flushed stays; of what was written since, any
/// subset of 512-byte sectors is there, of lengths and names each change for itself. The cursor only goes forward.
/// </summary>
internal sealed class CrashStates
{
    /// <summary>A unit that is not there, or is there as a whole; higher numbers are <see cref="TornPattern"/>s.</summary>
    private const byte Lost = 0;
    private const byte Whole = 1;
    private const byte TornFirst = 2;

    private const int SectorBytes = 512;

    private readonly IReadOnlyList<DiskEvent> journal;
    private readonly Dictionary<int, SparseContent> durable = [];
    private readonly Dictionary<string, int> durableNames = new(StringComparer.Ordinal);
    private readonly HashSet<string> folders;
    private readonly List<DiskEvent> pending = [];

    /// <param name="start">What was durable at the journal's beginning; contents have the numbers 0, 1, ... in its order.</param>
    /// <param name="journal">What was done to the disk since.</param>
    public CrashStates(DiskImage start, IReadOnlyList<DiskEvent> journal)
    {
        this.journal = journal;
        folders = start.Folders;
        foreach (var (name, content) in start.Files)
        {
            durableNames.Add(name, durable.Count);
            durable.Add(durable.Count, content);
        }
    }

    /// <summary>How a write may be torn: which of its sectors are there.</summary>
    private enum TornPattern : byte
    {
        FirstSector = TornFirst,
        FirstBlock,
        AllButLastSector,
        AllButFirstSector,
        AllButFirstBlock,
        FirstHalf,
        SecondHalf,
        EverySecondSector,
        End,
    }

    /// <summary>Events that have been passed.</summary>
    public int Position { get; private set; }

    /// <summary>Effects that may be there.</summary>
    public int Issued { get; private set; }

    /// <summary>Effects that must be there.</summary>
    public int Durable { get; private set; }

    /// <summary>Extent ids below this were given out.</summary>
    public ulong NextExtentId { get; private set; }

    public void AdvanceTo(int position)
    {
        for (; Position < position; Position++)
            Pass(journal[Position]);
    }

    /// <summary>
    /// States at the cursor, within a bound: data with all names, and names with all and with no data. Data: every subset of up to
    /// <paramref name="subsetsMax"/> volatile units (writes and changes of length); of more units all, none, each beginning of the order, each
    /// unit alone, each unit missing. And each of the last <paramref name="subsetsMax"/> writes torn in each pattern, with what came before it
    /// and without the rest, with all others, and with no other. Names: the same as data, without tearing.
    /// </summary>
    public IEnumerable<DiskImage> Enumerate(int subsetsMax)
    {
        var units = Reachable();
        var data = new List<int>();
        var names = new List<int>();
        for (var i = 0; i < units.Count; i++)
            (IsName(units[i]) ? names : data).Add(i);
        var choice = new byte[units.Count];
        foreach (var _ in Subsets(data, choice, subsetsMax, torn: units))
        {
            Set(choice, names, Whole);
            yield return Materialise(units, choice, keepsLengths: true);
        }

        Set(choice, data, Whole);
        Set(choice, names, Whole);
        yield return Materialise(units, choice, keepsLengths: false);
        if (names.Count == 0)
            yield break;
        foreach (var state in new[] { Whole, Lost })
        {
            foreach (var _ in Subsets(names, choice, subsetsMax, torn: null))
            {
                Set(choice, data, state);
                yield return Materialise(units, choice, keepsLengths: true);
            }
        }
    }

    /// <summary>Only what was flushed.</summary>
    public DiskImage Least() => Materialise([], [], keepsLengths: true);

    /// <summary>All that was written: what the kernel still has when only the process dies.</summary>
    public DiskImage Most()
    {
        var units = Reachable();
        var choice = new byte[units.Count];
        Array.Fill(choice, Whole);
        return Materialise(units, choice, keepsLengths: true);
    }

    /// <summary>Any state: subsets of sectors without a pattern.</summary>
    public DiskImage Any(Random random)
    {
        var units = Reachable();
        var choice = new byte[units.Count];
        var style = random.Next(5);
        var kept = random.Next(units.Count + 1);
        for (var i = 0; i < choice.Length; i++)
        {
            choice[i] = style switch
            {
                0 => Lost,
                1 => i < kept ? Whole : Lost,
                2 => i == kept ? Lost : Whole,
                _ => (byte)random.Next(2),
            };
            if (random.Next(3) == 0 && units[i].Kind == DiskEventKind.Write)
                choice[i] = (byte)random.Next((int)TornPattern.End + 1);
        }

        return Materialise(units, choice, keepsLengths: random.Next(4) != 0, random);
    }

    private static bool IsName(DiskEvent what) => what.Kind is DiskEventKind.Create or DiskEventKind.Rename or DiskEventKind.Delete;

    private static void Set(byte[] choice, List<int> which, byte state)
    {
        foreach (var unit in which)
            choice[unit] = state;
    }

    private static IEnumerable<int> Subsets(List<int> which, byte[] choice, int subsetsMax, List<DiskEvent>? torn)
    {
        if (which.Count <= subsetsMax)
        {
            for (var bits = 0; bits < 1 << which.Count; bits++)
            {
                for (var i = 0; i < which.Count; i++)
                    choice[which[i]] = (byte)(bits >> i & 1);
                yield return bits;
            }
        }
        else
        {
            for (var i = 0; i <= which.Count; i++)
            {
                for (var k = 0; k < which.Count; k++)
                    choice[which[k]] = k < i ? Whole : Lost;
                yield return i;
            }

            for (var i = 0; i < which.Count; i++)
            {
                Set(choice, which, Lost);
                choice[which[i]] = Whole;
                yield return i;
                Set(choice, which, Whole);
                choice[which[i]] = Lost;
                yield return i;
            }
        }

        if (torn is null)
            yield break;
        for (var i = Math.Max(0, which.Count - subsetsMax); i < which.Count; i++)
        {
            if (torn[which[i]] is not { Kind: DiskEventKind.Write, Data.Length: > SectorBytes })
                continue;
            for (var pattern = TornFirst; pattern < (byte)TornPattern.End; pattern++)
            {
                for (var others = 0; others < 3; others++)
                {
                    for (var k = 0; k < which.Count; k++)
                        choice[which[k]] = others == 1 || (others == 0 && k < i) ? Whole : Lost;
                    choice[which[i]] = pattern;
                    yield return i;
                }
            }
        }
    }

    private static bool Survives(byte state, int sector, int sectors, Random? random) => (TornPattern)state switch
    {
        (TornPattern)Lost => false,
        (TornPattern)Whole => true,
        TornPattern.FirstSector => sector == 0,
        TornPattern.FirstBlock => sector < 8,
        TornPattern.AllButLastSector => sector < sectors - 1,
        TornPattern.AllButFirstSector => sector > 0,
        TornPattern.AllButFirstBlock => sector >= 8,
        TornPattern.FirstHalf => sector < sectors / 2,
        TornPattern.SecondHalf => sector >= sectors / 2,
        TornPattern.EverySecondSector => sector % 2 == 0,
        _ => random!.Next(2) == 0,
    };

    private static void Apply(SparseContent content, DiskEvent what, byte state, Random? random)
    {
        if (state == Lost)
            return;
        if (what.Kind == DiskEventKind.Length)
        {
            content.SetLength(what.LengthBytes);
            return;
        }

        if (state == Whole)
        {
            content.Write(what.OffsetBytes, what.Data);
            return;
        }

        // Runs of sectors that are there; a write may end inside a sector.
        var sectors = (what.Data.Length + SectorBytes - 1) / SectorBytes;
        for (var i = 0; i < sectors; i++)
        {
            if (Survives(state, i, sectors, random))
                content.Write(what.OffsetBytes + (i * SectorBytes), what.Data.AsSpan(i * SectorBytes, Math.Min(SectorBytes, what.Data.Length - (i * SectorBytes))));
        }
    }

    private void Pass(DiskEvent what)
    {
        switch (what.Kind)
        {
            case DiskEventKind.Mark:
                Issued = what.Issued;
                Durable = what.Durable;
                NextExtentId = what.NextExtentId;
                break;
            case DiskEventKind.Flush:
                Settle(unit => !IsName(unit) && unit.Content == what.Content, static _ => true);
                break;
            case DiskEventKind.FlushFailed:
                var coin = new Random(Position);
                Settle(unit => !IsName(unit) && unit.Content == what.Content, _ => coin.Next(2) == 0);
                break;
            case DiskEventKind.FolderSync:
                Settle(unit => IsName(unit) && unit.Folder == what.Name, static _ => true);
                break;
            case DiskEventKind.Create:
                durable.Add(what.Content, new SparseContent());
                pending.Add(what);
                break;
            default:
                pending.Add(what);
                break;
        }
    }

    /// <summary>Ends the waiting of some units: what is kept becomes durable, in order.</summary>
    private void Settle(Predicate<DiskEvent> isMeant, Predicate<DiskEvent> isKept)
    {
        SparseContent? changed = null;
        foreach (var unit in pending)
        {
            if (!isMeant(unit) || !isKept(unit))
                continue;
            if (IsName(unit))
            {
                Name(durableNames, unit);
                continue;
            }

            changed ??= durable[unit.Content] = durable[unit.Content].Copy();
            Apply(changed, unit, Whole, random: null);
        }

        pending.RemoveAll(isMeant);
    }

    private static void Name(Dictionary<string, int> names, DiskEvent what)
    {
        switch (what.Kind)
        {
            case DiskEventKind.Create:
                names[what.Name] = what.Content;
                break;
            case DiskEventKind.Delete:
                names.Remove(what.Name);
                break;
            default:
                if (names.TryGetValue(what.Other, out var old) && old == what.Content)
                    names.Remove(what.Other);
                names[what.Name] = what.Content;
                break;
        }
    }

    /// <summary>Volatile units that any name may lead to.</summary>
    private List<DiskEvent> Reachable()
    {
        var named = new HashSet<int>(durableNames.Values);
        foreach (var unit in pending)
        {
            if (IsName(unit) && unit.Kind != DiskEventKind.Delete)
                named.Add(unit.Content);
        }

        return pending.FindAll(unit => IsName(unit) || named.Contains(unit.Content));
    }

    private DiskImage Materialise(List<DiskEvent> units, byte[] choice, bool keepsLengths, Random? random = null)
    {
        var changed = new Dictionary<int, SparseContent>();
        var lengths = new Dictionary<int, long>();
        var names = new Dictionary<string, int>(durableNames, StringComparer.Ordinal);
        for (var i = 0; i < units.Count; i++)
        {
            var unit = units[i];
            if (choice[i] == Lost)
                continue;
            if (IsName(unit))
            {
                Name(names, unit);
                continue;
            }

            if (!changed.TryGetValue(unit.Content, out var content))
            {
                content = changed[unit.Content] = durable[unit.Content].Copy();
                lengths[unit.Content] = content.LengthBytes;
            }

            Apply(content, unit, choice[i], random);
            if (unit.Kind == DiskEventKind.Length)
                lengths[unit.Content] = unit.LengthBytes;
        }

        var image = new DiskImage();
        image.Folders.UnionWith(folders);
        foreach (var (name, number) in names)
        {
            if (!changed.TryGetValue(number, out var content))
                content = durable[number];
            else if (!keepsLengths && content.LengthBytes > lengths[number])
                content.SetLength(lengths[number]);
            image.Files.Add(name, content);
        }

        return image;
    }
}
