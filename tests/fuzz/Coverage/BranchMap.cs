namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Which ways through the parsers were seen. The parsers' copies under test call <see cref="Hit"/> at each basic block; an edge is a pair of
/// blocks that followed each other. One parser runs at a time; where it has threads, what they do beside it does not count, so that the same
/// input shows the same.
/// </summary>
public static class BranchMap
{
    private const int Edges = 1 << 20;

    private static readonly bool[] Seen = new bool[Edges];
    private static int previous;

    [ThreadStatic]
    private static bool isParsers;

    /// <summary>Edges seen for the first time since the last <see cref="Begin"/>.</summary>
    public static int Fresh { get; private set; }

    /// <summary>All edges seen.</summary>
    public static int Count { get; private set; }

    /// <summary>Before an input.</summary>
    public static void Begin()
    {
        isParsers = true;
        previous = 0;
        Fresh = 0;
    }

    /// <summary>A basic block is entered. Called by what <see cref="Instrumented"/> puts into the parsers.</summary>
    public static void Hit(int block)
    {
        if (!isParsers)
            return;

        // The order of the two counts, so the earlier one is shifted.
        var edge = (block ^ (previous >> 1)) & (Edges - 1);
        previous = block;
        if (Seen[edge])
            return;
        Seen[edge] = true;
        Fresh++;
        Count++;
    }
}
