using CowScsi.Layers;

namespace CowScsi.Tests.Unit.Library;

/// <summary>The least that a device of one's own is, with what a test wants of it.</summary>
internal sealed class RamDevice(BlockGeometry geometry, int threads) : SimpleBlockDevice(geometry, threads)
{
    private int under;

    public byte[] Bytes { get; } = new byte[geometry.SizeBytes];

    public Exception? Throws { get; set; }

    public ManualResetEventSlim Gate { get; } = new(true);

    public int MostAtOnce { get; private set; }

    public int Flushes { get; private set; }

    public List<int> PieceBytes { get; } = [];

    public int ThreadId { get; private set; }

    public long Discarded { get; private set; }

    protected override BlockOutcome Read(long offsetBytes, Span<byte> destination)
    {
        Enter(destination.Length);
        Bytes.AsSpan((int)offsetBytes, destination.Length).CopyTo(destination);
        return Leave();
    }

    protected override BlockOutcome Write(long offsetBytes, ReadOnlySpan<byte> source)
    {
        Enter(source.Length);
        source.CopyTo(Bytes.AsSpan((int)offsetBytes));
        return Leave();
    }

    protected override BlockOutcome Flush()
    {
        Flushes++;
        return Throws is null ? BlockOutcome.Success : throw Throws;
    }

    protected override BlockOutcome Discard(long offsetBytes, long lengthBytes)
    {
        Discarded += lengthBytes;
        Bytes.AsSpan((int)offsetBytes, (int)lengthBytes).Clear();
        return BlockOutcome.Success;
    }

    private void Enter(int pieceBytes)
    {
        lock (Bytes)
        {
            MostAtOnce = Math.Max(MostAtOnce, ++under);
            PieceBytes.Add(pieceBytes);
            ThreadId = Environment.CurrentManagedThreadId;
        }

        Gate.Wait();
        if (Throws is not null)
        {
            Leave();
            throw Throws;
        }
    }

    private BlockOutcome Leave()
    {
        lock (Bytes)
            under--;
        return BlockOutcome.Success;
    }
}
