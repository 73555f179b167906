using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>How stores of the simulation are opened: as small as they may be, without threads of their own.</summary>
internal static class SimulatedOptions
{
    public static StoreOptions Small { get; } = new()
    {
        SegmentBytes = 1 << 20,
        ReservedBytes = 1 << 20,
        IsStepped = true,
        MapSizes = new MapSizes(IndexBytes: 16 << 10, IndexBytesMax: 64 << 10, LogMemoryBytes: 128 << 10, LogPageBytes: 16 << 10),
    };
}
