using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>The layouts of the scrub state, field by field, as LayoutProofTests does it for the others; and that it comes back as it was written.</summary>
public sealed class ScrubLayoutProofTests
{
    private const long All = 0x7EFEFEFEFEFEFEFE;

    private static readonly ScrubState First = new()
    {
        Progress = ScrubProgress.Running, Cursor = new LogPosition(1, 1), End = new LogPosition(1, 1), RateBytes = 1, StartedTicks = 1, ChangedTicks = 1, ReadBytes = 1, TotalBytes = 1, MoreRanges = 1,
    };

    [Fact]
    public void StateFields() =>
        new FieldProof<ScrubState>(ScrubState.Layout, static value => value.ToBytes()[..ScrubState.HeaderBytes], "", First)
            .Fixed("version", [1])
            .Zeros()
            .Field("progress", First with { Progress = ScrubProgress.Finished })
            .Field("cursor_segment", First with { Cursor = First.Cursor with { Segment = 0xFEFEFEFE } })
            .Field("cursor_offset", First with { Cursor = First.Cursor with { OffsetBytes = 0xFEFEFEFE } })
            .Field("end_segment", First with { End = First.End with { Segment = 0xFEFEFEFE } })
            .Field("end_offset", First with { End = First.End with { OffsetBytes = 0xFEFEFEFE } })
            .Fixed("range_count", new byte[4])
            .Fixed("place_count", new byte[4])
            .Field("rate", First with { RateBytes = All })
            .Field("started", First with { StartedTicks = 0x0101010101010100 })
            .Field("changed", First with { ChangedTicks = 0x0101010101010100 })
            .Field("read", First with { ReadBytes = All })
            .Field("total", First with { TotalBytes = All })
            .Field("more", First with { MoreRanges = All })
            .Done("started", "changed");

    [Fact]
    public void RangeAndPlaceFields()
    {
        var range = new ScrubRange(1, 1, 1, 1);
        new FieldProof<ScrubRange>(ScrubRange.Layout, static value => (First with { Ranges = [value] }).ToBytes()[ScrubState.HeaderBytes..], "", range)
            .Zeros()
            .Field("segment", range with { Segment = 0xFEFEFEFE })
            .Field("offset", range with { OffsetBytes = 0xFEFEFEFE })
            .Field("length", range with { LengthBytes = 0xFEFEFEFE })
            .Field("kind", range with { Kind = 2 })
            .Done();
        var place = new ScrubPlace(new LayerId(1), new PageNumber(1), 1, 1);
        new FieldProof<ScrubPlace>(ScrubPlace.Layout, static value => (First with { Places = [value] }).ToBytes()[ScrubState.HeaderBytes..], "", place)
            .Field("layer", place with { Layer = new LayerId(0xFEFEFEFE) })
            .Field("page", place with { Page = new PageNumber(0xFEFEFEFE) })
            .Field("range", place with { Range = 0xFEFE })
            .Field("blocks", place with { Blocks = 0xFEFE })
            .Done();
    }

    [Fact]
    public void FullState_ComesBack_AndFitsASetting()
    {
        var full = First with
        {
            Ranges = [.. Enumerable.Range(0, ScrubState.RangesMax).Select(static i => new ScrubRange((uint)i, 4096, 8192, ScrubRange.Batch))],
            Places = [.. Enumerable.Range(0, ScrubState.PlacesMax).Select(static i => new ScrubPlace(new LayerId((uint)i), new PageNumber(7), (ushort)(i % ScrubState.RangesMax), 0x8001))],
        };
        var bytes = full.ToBytes();
        Assert.InRange(bytes.Length, 1, CatalogChange.AttributesBytesMax);
        Assert.True(ScrubState.TryRead(bytes, out var read, out var fault), fault);
        Assert.Equal(full.Ranges, read!.Ranges);
        Assert.Equal(full.Places, read.Places);
        Assert.Equal(full with { Ranges = [], Places = [] }, read with { Ranges = [], Places = [] });
    }
}
