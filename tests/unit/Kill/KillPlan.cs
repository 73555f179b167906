namespace CowScsi.Tests.Unit.Kill;

/// <summary>What is under way when the server is killed.</summary>
internal enum KillMoment
{
    /// <summary>Writes.</summary>
    Writing,

    /// <summary>A flush that may or may not be answered, and writes behind it.</summary>
    Flushing,

    /// <summary>`vdisk snapshot create`, under load.</summary>
    MakingSnapshot,

    /// <summary>Nothing but writes, a few or none after a snapshot was made.</summary>
    SnapshotMade,

    /// <summary>A server that stood still (SIGSTOP) while commands came, and goes on (SIGCONT).</summary>
    Continuing,

    /// <summary>The clean end that SIGTERM asks for: its flush, checkpoint and superblock.</summary>
    Stopping,
}

/// <summary>
/// One round, drawn from its seed. Where a kill meets the work of the server is up to the machine; what is written, and after which event
/// the kill comes, is not.
/// </summary>
internal sealed record KillPlan
{
    private const int Moments = 6;
    private const int DepthMax = 8;

    public required int Round { get; init; }

    public required KillMoment Moment { get; init; }

    /// <summary>Commands outstanding; 1 is the ordered stream.</summary>
    public required int Depth { get; init; }

    /// <summary>Writes answered before the moment comes.</summary>
    public required int Writes { get; init; }

    /// <summary>Answers between the moment and the kill.</summary>
    public required int Then { get; init; }

    /// <summary>A flush is sent once in so many writes; 0 for none.</summary>
    public required int FlushEvery { get; init; }

    /// <summary>For the end after SIGTERM: the file event at which the server is killed.</summary>
    public required int StopEvent { get; init; }

    /// <summary>For each start that is killed before the server is ready: the file event at which it is.</summary>
    public required IReadOnlyList<int> RecoveryEvents { get; init; }

    public required Random Random { get; init; }

    public override string ToString() =>
        $"round {Round}, {Moment} at depth {Depth} after {Writes} writes and {Then} answers, flush every {FlushEvery}" +
        (Moment == KillMoment.Stopping ? $", killed at file event {StopEvent}" : "") +
        (RecoveryEvents.Count > 0 ? $", recovery killed at file events {string.Join(", ", RecoveryEvents)}" : "");

    /// <summary>Each six rounds have each moment once, in an order of their own, and one of them a killed recovery.</summary>
    public static KillPlan Draw(uint seed, int round)
    {
        var moments = Enum.GetValues<KillMoment>();
        new Random(unchecked((int)(seed + ((uint)round / Moments)))).Shuffle(moments);
        var random = new Random(unchecked((int)((seed * 1_000_003) + (uint)round)));
        var recoveries = round % Moments == seed % Moments ? random.Next(1, 3) : random.Next(4) / 3;
        return new KillPlan
        {
            Round = round,
            Moment = moments[round % Moments],
            Depth = random.Next(2) == 0 ? 1 : random.Next(2, DepthMax + 1),
            Writes = Skewed(random, 10, 2000),
            Then = random.Next(3) == 0 ? 0 : Skewed(random, 1, 100),
            FlushEvery = random.Next(3) switch { 0 => 0, 1 => 20, _ => 200 },
            StopEvent = Skewed(random, 1, 200),
            RecoveryEvents = [.. Enumerable.Range(0, recoveries).Select(_ => Skewed(random, 1, 200))],
            Random = random,
        };
    }

    /// <summary>Between the bounds, each magnitude alike.</summary>
    private static int Skewed(Random random, int min, int max) => (int)(min * Math.Pow((double)max / min, random.NextDouble()));
}
