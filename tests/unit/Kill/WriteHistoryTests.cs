using Xunit;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>That the judge of the kill tests sees what it is there for.</summary>
public sealed class WriteHistoryTests
{
    private static readonly StateBounds Free = new(0, 0, long.MaxValue);

    [Fact]
    public void EachPrefixOfAnOrderedStream_IsLegal_AndNothingElse()
    {
        // Four writes, one after the other: 1 on blocks 0-1, 2 on 1-2, 3 on 3, 4 on 0.
        long[][] prefixes = [[0, 0, 0, 0], [1, 0, 0, 0], [1, 1, 0, 0], [1, 2, 0, 0], [1, 2, 2, 0], [1, 2, 2, 3], [4, 2, 2, 3]];
        var history = Ordered();
        for (var state = 0; state < 5 * 5 * 5 * 5; state++)
        {
            long[] shown = [state % 5, state / 5 % 5, state / 25 % 5, state / 125];
            var isPrefix = prefixes.Any(prefix => prefix.AsSpan().SequenceEqual(shown));
            Assert.True(isPrefix == (history.Judge(shown, Free).Count == 0), string.Join(' ', shown));
        }
    }

    [Fact]
    public void FlushedOrForcedWrite_ThatIsMissing_IsSeen()
    {
        var history = Ordered();
        history.Flushed(history.Tick());
        var flushed = Free with { Floor = history.FlushedBefore };
        Assert.Empty(history.Judge([4, 2, 2, 3], flushed));
        Assert.Contains("flushed and lost", Assert.Single(history.Judge([1, 2, 2, 3], flushed)), StringComparison.Ordinal);
        Assert.Contains("forced and lost", Assert.Single(history.Judge([1, 2, 2, 0], Free with { ForcedFloor = long.MaxValue })), StringComparison.Ordinal);
    }

    [Fact]
    public void WritesOutstandingTogether_MayComeInAnyOrder_ThoseAnsweredBeforeMayNot()
    {
        var history = new WriteHistory(3);
        var (a, b) = (history.Issue(0, 1, false), history.Issue(1, 1, false));
        Assert.Empty(history.Judge([0, 2, 0], Free));
        history.Acknowledge(a);
        history.Issue(2, 1, false);
        Assert.Empty(history.Judge([1, 0, 3], Free));
        Assert.Contains("a hole", Assert.Single(history.Judge([0, 2, 3], Free)), StringComparison.Ordinal);
        history.Acknowledge(b);
        Assert.Empty(history.Judge([1, 0, 3], Free));
    }

    [Fact]
    public void WhatWasLost_DoesNotComeBack_AndWhatWasSeenStays()
    {
        var history = Ordered();
        history.Settle([1, 2, 2, 0]);
        Assert.Empty(history.Judge([1, 2, 2, 0], Free));
        Assert.NotEmpty(history.Judge([1, 2, 2, 3], Free));
        Assert.NotEmpty(history.Judge([1, 1, 2, 0], Free));
    }

    [Fact]
    public void WriteAfterTheCeiling_IsNotPartOfASnapshot()
    {
        var history = new WriteHistory(1);
        history.Acknowledge(history.Issue(0, 1, false));
        var ceiling = history.Tick();
        history.Issue(0, 1, false);
        Assert.Empty(history.Judge([1], Free with { Ceiling = ceiling }));
        Assert.NotEmpty(history.Judge([2], Free with { Ceiling = ceiling }));
    }

    [Fact]
    public void BlockThatIsTornOrElsewhere_IsSeen()
    {
        const uint Seed = 7;
        var block = new byte[StampedBlock.Bytes];
        StampedBlock.Fill(block, Seed, round: 1, sequence: 9, number: 3, new Random(1));
        Assert.True(StampedBlock.TryRead(block, Seed, 3, out var sequence, out _));
        Assert.Equal(9, sequence);
        Assert.False(StampedBlock.TryRead(block, Seed, 4, out _, out _));
        Assert.False(StampedBlock.TryRead(block, Seed + 1, 3, out _, out _));
        foreach (var sector in Enumerable.Range(0, StampedBlock.Bytes / 512))
        {
            var torn = block.ToArray();
            torn.AsSpan(sector * 512, 512).Clear();
            Assert.False(StampedBlock.TryRead(torn, Seed, 3, out _, out _));
        }
    }

    private static WriteHistory Ordered()
    {
        var history = new WriteHistory(4);
        history.Acknowledge(history.Issue(0, 2, false));
        history.Acknowledge(history.Issue(1, 2, false));
        history.Acknowledge(history.Issue(3, 1, true));
        history.Acknowledge(history.Issue(0, 1, false));
        return history;
    }
}
