using CowScsi.Layers;
using CowScsi.VhostUser.Rings;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A request that no device carries out.</summary>
internal sealed class TestRequest : RingRequest
{
    /// <summary>Descriptors that the driver gave for it.</summary>
    public int Cost { get; set; }

    public override bool IsAborted => false;

    public List<IoSlice> Slices
    {
        get
        {
            var all = new IoSlice[SlicesMax];
            var readable = Readable.CopyVectorsTo(all, out _);
            var writable = Writable.CopyVectorsTo(all.AsSpan(readable), out _);
            return [.. all.AsSpan(0, readable + writable)];
        }
    }

    public override bool Execute() => true;

    public override void Answer()
    {
    }
}
