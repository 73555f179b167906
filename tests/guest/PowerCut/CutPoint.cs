namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>Where the power goes.</summary>
internal enum CutKind
{
    /// <summary>Right behind a mark: behind an answered flush.</summary>
    Mark,

    /// <summary>Right behind a flush.</summary>
    Flush,

    /// <summary>Right behind a forced write; of what came since the last flush, nothing else stays.</summary>
    Forced,

    /// <summary>Between two flushes: all before the first stays, and of the others some writes, or parts of writes.</summary>
    Between,
}

/// <summary>
/// What a disk with a volatile write cache may hold after a power cut: all up to some entry of the log, and of those behind it, up to the
/// next flush, the forced ones and any of the others.
/// </summary>
/// <param name="Until">So many entries of the log are there.</param>
/// <param name="Next">And those in front of this one that <paramref name="Loss"/> leaves.</param>
/// <param name="Loss">Decides about each write behind <paramref name="Until"/>; null where none is there.</param>
internal sealed record CutPoint(CutKind Kind, int Until, int Next, CutLoss? Loss)
{
    public override string ToString() => $"{Kind} at {Until}" + (Loss is null ? "" : $" of {Next}, {Loss}");

    /// <summary>
    /// All marks, all flushes, all forced writes, and `between` points for each stretch that has something to lose; thinned out
    /// evenly, kind by kind, to so many of each.
    /// </summary>
    public static List<CutPoint> Choose(WriteLog log, int each, Random random)
    {
        List<CutPoint> marks = [], flushes = [], forced = [], between = [];
        List<(int Until, int Next)> stretches = [];
        var last = 0;
        for (var i = 0; i < log.Entries.Count; i++)
        {
            var entry = log.Entries[i];
            if (entry.IsMark)
                marks.Add(new CutPoint(CutKind.Mark, i + 1, i + 1, null));
            if (entry.IsForced)
                forced.Add(new CutPoint(CutKind.Forced, i + 1, i + 1, null));
            if (!entry.IsFlush)
                continue;
            flushes.Add(new CutPoint(CutKind.Flush, i + 1, i + 1, null));
            if (Enumerable.Range(last, i - last).Any(k => log.Entries[k].IsVolatile))
                stretches.Add((last, i));
            last = i + 1;
        }

        for (var i = 0; i < each && stretches.Count > 0; i++)
        {
            var (until, next) = stretches[(int)((long)i * stretches.Count / each)];
            between.Add(new CutPoint(CutKind.Between, until, next, CutLoss.Draw(random)));
        }

        return [.. new[] { marks, flushes, forced, between }.SelectMany(points => Thin(points, each)).OrderBy(point => point.Until)];
    }

    private static IEnumerable<CutPoint> Thin(List<CutPoint> points, int count) => points.Count <= count
        ? points
        : Enumerable.Range(0, count).Select(i => points[(int)((long)i * points.Count / count)]);
}

/// <summary>Which volatile writes a power cut takes, drawn from a seed.</summary>
/// <param name="LostOfHundred">Chance of each write to be lost.</param>
/// <param name="TornOfHundred">Chance of each write that is not lost to lose some of its pieces.</param>
/// <param name="PieceBytes">A torn write loses pieces of this size: a sector, or a page.</param>
internal sealed record CutLoss(int Seed, int LostOfHundred, int TornOfHundred, int PieceBytes)
{
    public static CutLoss Draw(Random random) =>
        new(random.Next(), random.Next(4) switch { 0 => 10, 1 => 50, 2 => 90, _ => 0 }, random.Next(2) * 50, random.Next(2) == 0 ? 512 : 4096);

    public override string ToString() => $"seed {Seed}, {LostOfHundred} % lost, {TornOfHundred} % torn at {PieceBytes}";
}
