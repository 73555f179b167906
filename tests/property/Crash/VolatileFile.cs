using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>A real file whose unflushed changes are remembered, so that they can be lost.</summary>
internal sealed class VolatileFile(VolatileDirectory directory, StoreFile real, VolatileContent content) : StoreFile
{
    private const int SectorBytes = 512;

    public override string Path => real.Path;

    public override string LastError => "the power is off, or " + real.LastError;

    public override long LengthBytes => real.LengthBytes;

    public override FileOutcome Read(Span<byte> destination, long offsetBytes) => real.Read(destination, offsetBytes);

    public override FileOutcome ReadNow(Span<byte> destination, long offsetBytes) => real.ReadNow(destination, offsetBytes);

    public override unsafe FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait) =>
        real.ReadVectors(vectors, vectorCount, lengthBytes, offsetBytes, mayWait);

    public override FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes)
    {
        if (!directory.TrySpend())
            return FileOutcome.Failed;
        content.Remember(real.LengthBytes, offsetBytes, source.Length, Sector);
        return real.Write(source, offsetBytes);
    }

    public override FileOutcome Flush()
    {
        if (!directory.TrySpend())
            return FileOutcome.Failed;
        content.Flushed();
        return FileOutcome.Success;
    }

    public override FileOutcome Allocate(long offsetBytes, long lengthBytes)
    {
        if (!directory.TrySpend())
            return FileOutcome.Failed;
        content.Remember(real.LengthBytes, offsetBytes, 0, Sector);
        return real.Allocate(offsetBytes, lengthBytes);
    }

    public override FileOutcome SetLength(long lengthBytes)
    {
        if (!directory.TrySpend())
            return FileOutcome.Failed;
        content.Remember(real.LengthBytes, lengthBytes, Math.Max(0, real.LengthBytes - lengthBytes), Sector);
        return real.SetLength(lengthBytes);
    }

    public override void Dispose() => real.Dispose();

    private byte[] Sector(long offset)
    {
        var sector = new byte[SectorBytes];
        var there = (int)Math.Clamp(real.LengthBytes - offset, 0, SectorBytes);
        if (there > 0)
            real.Read(sector.AsSpan(0, there), offset);
        return sector;
    }
}
