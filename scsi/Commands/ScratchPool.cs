using System.Diagnostics.CodeAnalysis;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A bounded pool of native memory for commands that need room of their own (compare, patterns, parameter lists). A command that finds
/// none ends with TASK SET FULL: the initiator sends it again, and memory stays bounded. Safe for any number of threads.
/// </summary>
internal sealed class ScratchPool
{
    /// <summary>Size of a buffer: a map page, the largest piece that the layers below take at one go.</summary>
    public const int BufferBytes = 64 << 10;

    /// <summary>Buffers in use at once: 2 MiB a logical unit at worst.</summary>
    public const int BuffersMax = 32;

    private readonly Lock gate = new();
    private readonly Stack<NativeBuffer> idle = new(BuffersMax);
    private int created;

    public bool TryRent([NotNullWhen(true)] out NativeBuffer? buffer)
    {
        lock (gate)
        {
            if (idle.TryPop(out buffer))
                return true;
            if (created == BuffersMax)
                return false;
            created++;
        }

        buffer = new NativeBuffer(BufferBytes);
        return true;
    }

    public void Return(NativeBuffer buffer)
    {
        lock (gate)
            idle.Push(buffer);
    }

    /// <summary>Frees the idle buffers; called once no command is under way.</summary>
    public void Release()
    {
        lock (gate)
        {
            while (idle.TryPop(out var buffer))
                buffer.Dispose();
            created = 0;
        }
    }
}
