using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>An open file of an overlay. What it holds outlives it: another opening of the name shows the same.</summary>
internal sealed unsafe class OverlayFile : StoreFile
{
    private readonly OverlayContent content;
    private int closed;

    public OverlayFile(string path, OverlayContent content)
    {
        this.content = content;
        Path = path;
        content.Opened();
    }

    public override string Path { get; }

    public override string LastError => content.LastError;

    public override long LengthBytes => content.LengthBytes;

    public override FileOutcome Read(Span<byte> destination, long offsetBytes) => content.Read(destination, offsetBytes);

    /// <summary>What is read here may be on any disk; whoever must not wait asks again.</summary>
    public override FileOutcome ReadNow(Span<byte> destination, long offsetBytes) => FileOutcome.WouldWait;

    public override FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait)
    {
        if (!mayWait)
            return FileOutcome.WouldWait;
        var vector = (nint*)vectors;
        for (var i = 0; i < vectorCount; i++, vector += 2)
        {
            var outcome = content.Read(MemoryMarshal.CreateSpan(ref *(byte*)vector[0], (int)vector[1]), offsetBytes);
            if (outcome != FileOutcome.Success)
                return outcome;
            offsetBytes += vector[1];
        }

        return FileOutcome.Success;
    }

    public override FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes) => content.Write(source, offsetBytes);

    /// <summary>Nothing here is to outlive the process.</summary>
    public override FileOutcome Flush() => FileOutcome.Success;

    public override FileOutcome Allocate(long offsetBytes, long lengthBytes) =>
        offsetBytes + lengthBytes > content.LengthBytes ? content.SetLength(offsetBytes + lengthBytes) : FileOutcome.Success;

    public override FileOutcome SetLength(long lengthBytes) => content.SetLength(lengthBytes);

    public override void Dispose()
    {
        if (Interlocked.Exchange(ref closed, 1) == 0)
            content.Closed();
    }
}
