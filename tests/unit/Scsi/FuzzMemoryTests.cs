using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>What random commands leave in memory. The heap is the whole process's, so no other test may run meanwhile.</summary>
[Collection(nameof(FuzzMemoryTests))]
[CollectionDefinition(nameof(FuzzMemoryTests), DisableParallelization = true)]
public sealed class FuzzMemoryTests
{
    /// <summary>What the heap may have grown by after all cases, with everything collected: caches of sizes that do not depend on them.</summary>
    private const long GrowthBytesMax = 4 << 20;

    [Fact]
    public async Task ManyCommands_LeaveNothingOnTheHeap()
    {
        await FuzzTests.RunAsync(11, FuzzTests.CasesPerSeed / 2, isRemovable: false, 512, remembers: true);
        var before = GC.GetTotalMemory(forceFullCollection: true);
        await FuzzTests.RunAsync(12, FuzzTests.CasesPerSeed, isRemovable: false, 512, remembers: true);
        var growth = GC.GetTotalMemory(forceFullCollection: true) - before;
        Assert.InRange(growth, long.MinValue, GrowthBytesMax);
    }
}
