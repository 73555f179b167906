using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>Time that stands still until it is moved on.</summary>
internal sealed class SimulatedTime : TimeProvider
{
    private TimeSpan elapsed;

    public override long TimestampFrequency => TimeSpan.TicksPerSecond;

    public void Advance(TimeSpan by) => elapsed += by;

    public override DateTimeOffset GetUtcNow() => DateTimeOffset.UnixEpoch + elapsed;

    public override long GetTimestamp() => elapsed.Ticks;
}

/// <summary>How stores of the simulation are opened: as small as they may be, without threads of their own.</summary>
internal static class SimulatedOptions
{
    public static StoreOptions With(SimulatedTime time) => new()
    {
        SegmentBytes = 1 << 20,
        ReservedBytes = 1 << 20,
        IsStepped = true,
        MapSizes = MapSizes.Smallest,
        Time = time,
    };
}
