namespace CowScsi.Tests.Unit.Scsi;

/// <summary>
/// Persistent reservations once more, from the text of SPC-5, 5.14, as plainly as can be: one dictionary of keys, one holder. It shares
/// nothing with the product. Nexuses are numbers.
/// </summary>
internal sealed class ReservationModel
{
    public const int Good = 0;
    public const int Conflict = 1;
    public const int Refused = 2;

    private const int None = -1;

    private readonly SortedDictionary<int, ulong> keys = [];
    private readonly Dictionary<int, HashSet<int>> attentions = [];
    private int holder = None;
    private int type;

    public uint Generation { get; private set; }

    public int Type => type;

    public IEnumerable<ulong> Keys => keys.Values;

    private bool IsAll => type is 7 or 8;

    private bool IsOpen => type is 5 or 6 or 7 or 8;

    public ulong KeyOf(int nexus) => keys.GetValueOrDefault(nexus);

    public ulong HolderKey => type == 0 || IsAll ? 0 : keys[holder];

    public bool IsHolder(int nexus) => IsAll ? keys.ContainsKey(nexus) : type != 0 && holder == nexus;

    /// <summary>Whether a nexus may do what only changes nothing (reads), or what writes.</summary>
    public bool May(int nexus, bool write)
    {
        if (type == 0 || IsHolder(nexus) || (IsOpen && keys.ContainsKey(nexus)))
            return true;
        return !write && type is 1 or 5 or 7;
    }

    /// <summary>What the nexus has not been told yet: additional sense code qualifiers of 2Ah.</summary>
    public HashSet<int> TakeAttentions(int nexus)
    {
        attentions.Remove(nexus, out var told);
        return told ?? [];
    }

    public int Register(int nexus, ulong key, ulong serviceKey, bool ignores)
    {
        if (!ignores && KeyOf(nexus) != key)
            return Conflict;
        Generation++;
        if (serviceKey != 0)
        {
            keys[nexus] = serviceKey;
            return Good;
        }

        var wasHolder = IsHolder(nexus);
        keys.Remove(nexus);
        if (wasHolder && (!IsAll || keys.Count == 0))
        {
            var tells = IsOpen;
            End();
            if (tells)
                TellRegistered(nexus, 4);
        }

        return Good;
    }

    public int Reserve(int nexus, ulong key, int wanted)
    {
        if (wanted is not (1 or 3 or 5 or 6 or 7 or 8))
            return Refused;
        if (!keys.ContainsKey(nexus) || keys[nexus] != key)
            return Conflict;
        if (type != 0)
            return IsHolder(nexus) && type == wanted ? Good : Conflict;
        type = wanted;
        holder = nexus;
        return Good;
    }

    public int Release(int nexus, ulong key, int wanted)
    {
        if (!keys.ContainsKey(nexus) || keys[nexus] != key)
            return Conflict;
        if (!IsHolder(nexus))
            return Good;
        if (wanted != type)
            return Refused;
        var tells = IsOpen;
        End();
        if (tells)
            TellRegistered(nexus, 4);
        return Good;
    }

    public int Clear(int nexus, ulong key)
    {
        if (!keys.ContainsKey(nexus) || keys[nexus] != key)
            return Conflict;
        TellRegistered(nexus, 3);
        keys.Clear();
        End();
        Generation++;
        return Good;
    }

    public int Preempt(int nexus, ulong key, ulong victim, int wanted)
    {
        if (!keys.ContainsKey(nexus) || keys[nexus] != key)
            return Conflict;
        var takes = type != 0 && (IsAll ? victim == 0 : keys[holder] == victim);
        if (!takes && victim == 0)
            return Refused;
        if (takes && wanted is not (1 or 3 or 5 or 6 or 7 or 8))
            return Refused;
        var gone = keys.Where(pair => (takes && IsAll) || pair.Value == victim).Select(pair => pair.Key).Where(one => !takes || one != nexus).ToList();
        if (!takes && gone.Count == 0)
            return Conflict;
        foreach (var one in gone)
        {
            keys.Remove(one);
            if (one != nexus)
                Tell(one, 5);
        }

        Generation++;
        if (takes)
        {
            var changes = type != wanted;
            type = wanted;
            holder = nexus;
            if (changes)
                TellRegistered(nexus, 4);
        }
        else if (keys.Count == 0)
        {
            End();
        }

        return Good;
    }

    public int Move(int nexus, ulong key, ulong serviceKey, int to, bool unregisters)
    {
        if (!keys.ContainsKey(nexus) || keys[nexus] != key || type == 0 || IsAll || holder != nexus)
            return Conflict;
        if (serviceKey == 0 || to == nexus)
            return Refused;
        keys[to] = serviceKey;
        holder = to;
        if (unregisters)
            keys.Remove(nexus);
        Generation++;
        return Good;
    }

    private void End()
    {
        type = 0;
        holder = None;
    }

    private void TellRegistered(int except, int what)
    {
        foreach (var nexus in keys.Keys.Where(nexus => nexus != except))
            Tell(nexus, what);
    }

    private void Tell(int nexus, int what)
    {
        if (!attentions.TryGetValue(nexus, out var told))
            attentions[nexus] = told = [];
        told.Add(what);
    }
}
