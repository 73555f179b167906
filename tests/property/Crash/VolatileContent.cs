namespace CowScsi.Tests.Property;

/// <summary>What of a file is not durable: the sectors that were changed since its last flush, as they were before.</summary>
internal sealed class VolatileContent
{
    private const int SectorBytes = 512;

    private readonly Lock gate = new();
    private readonly Dictionary<long, byte[]> before = [];
    private long durableLength = -1;

    /// <summary>Notes what a range holds before it is changed. <paramref name="read"/> gives a sector, zeros behind the end.</summary>
    public void Remember(long length, long offset, long count, Func<long, byte[]> read)
    {
        lock (gate)
        {
            if (durableLength < 0)
                durableLength = length;
            for (var sector = offset / SectorBytes; sector * SectorBytes < offset + count; sector++)
            {
                if (!before.ContainsKey(sector))
                    before[sector] = read(sector * SectorBytes);
            }
        }
    }

    public void Flushed()
    {
        lock (gate)
        {
            before.Clear();
            durableLength = -1;
        }
    }

    /// <summary>Puts a subset of the changed sectors back to what they were, and perhaps the length.</summary>
    public void Lose(string path, Random random)
    {
        if (durableLength < 0)
            return;
        using var file = new FileStream(path, FileMode.Open, FileAccess.ReadWrite);
        var length = file.Length;
        var style = random.Next(4);
        var keptEnd = 0L;
        var survivors = random.Next(before.Count + 1);
        var sectors = new List<long>(before.Keys);
        sectors.Sort();
        for (var i = 0; i < sectors.Count; i++)
        {
            var lost = style switch
            {
                0 => true,
                1 => i >= survivors,
                2 => random.Next(2) == 0,
                _ => random.Next(16) == 0,
            };
            var at = sectors[i] * SectorBytes;
            if (!lost)
            {
                if (at < length)
                    keptEnd = Math.Max(keptEnd, Math.Min(length, at + SectorBytes));
                continue;
            }

            file.Position = at;
            file.Write(before[sectors[i]]);
        }

        if (length < durableLength)
            length = random.Next(2) == 0 ? length : durableLength;
        else if (random.Next(2) == 0)
            length = Math.Max(durableLength, keptEnd);
        file.SetLength(length);
        before.Clear();
        durableLength = -1;
    }
}
