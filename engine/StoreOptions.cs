namespace CowScsi.Engine;

/// <summary>How a store is created or opened. Every figure has a working default.</summary>
public sealed record StoreOptions
{
    public static readonly StoreOptions Default = new();

    /// <summary>Memory for the block map, index included: 16 MiB to 64 GiB. What does not fit is kept on disk.</summary>
    public long MapMemoryBytes { get; init; } = 256L << 20;

    /// <summary>Size at which a segment is sealed: 1 MiB to 1 GiB, a multiple of 4096. Used when a segment is begun.</summary>
    public int SegmentBytes { get; init; } = 64 << 20;

    /// <summary>Log bytes written since the last checkpoint that cause the next.</summary>
    public long CheckpointLogBytes { get; init; } = 1L << 30;

    /// <summary>Time since the last checkpoint that causes the next, where anything was written.</summary>
    public TimeSpan CheckpointInterval { get; init; } = TimeSpan.FromSeconds(60);

    /// <summary>Free space of the file system that writes of guests never touch, so that deletes and checkpoints always succeed.</summary>
    public long ReservedBytes { get; init; } = 64L << 20;

    /// <summary>Where a check keeps the maps it makes.</summary>
    public string TemporaryFolder { get; init; } = Path.GetTempPath();

    /// <summary>Where times of creation come from, and how long something has been waiting.</summary>
    public TimeProvider Time { get; init; } = TimeProvider.System;

    /// <summary>Receives one line for each event an operator should know of (a rebuilt map, a removed torn tail).</summary>
    public Action<string>? Notice { get; init; }

    /// <summary>
    /// Whether the store has no threads of its own: background work is done within calls that wait for it, or piece by piece in
    /// <see cref="Store.StepWriter"/> and <see cref="Store.StepKeeper"/>. For simulations, where the order of what happens follows from the
    /// calls alone. One thread at a time.
    /// </summary>
    internal bool IsStepped { get; init; }

    /// <summary>Sizes of the map's parts where they do not follow from <see cref="MapMemoryBytes"/>: small ones for small stores of tests.</summary>
    internal MapSizes? MapSizes { get; init; }

    internal MapLimits MapLimits { get; init; } = MapLimits.Default;

    /// <summary>Called with the name of each call that FASTER makes in a checkpoint; for tests, which may block or throw.</summary>
    internal Action<string>? MapProbe { get; init; }
}
