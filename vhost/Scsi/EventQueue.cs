using System.Buffers.Binary;
using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser.Scsi;

/// <summary>
/// The event queue (virtio 1.2, 5.6.6.3). An event takes a buffer when it happens; where the driver left none it is lost, and the next
/// buffer says that some were (bit 31).
/// </summary>
internal sealed class EventQueue : DeviceQueue
{
    private readonly Lock gate = new();
    private readonly Queue<(uint Event, int Target, int Lun, uint Reason)> waiting = new();
    private readonly EventBuffer buffer = new();
    private volatile bool hasMissed;
    private volatile int waitingCount;

    /// <summary>Events that wait for the queue's thread; it takes them at once, so more than this are a burst that the driver rescans for anyway.</summary>
    private const int WaitingMax = 256;

    public override bool TakesRequests => false;

    public override RingRequest CreateRequest() => new EventBuffer();

    /// <summary>Notes an event; from any thread. The caller wakes the queue.</summary>
    public void Add(uint what, int target, int lun, uint reason)
    {
        lock (gate)
        {
            if (waiting.Count < WaitingMax)
                waiting.Enqueue((what, target, lun, reason));
            else
                hasMissed = true;
            waitingCount = waiting.Count;
        }
    }

    /// <summary>Forgets what happened: the driver that wanted to know is gone.</summary>
    public void Clear()
    {
        lock (gate)
        {
            waiting.Clear();
            waitingCount = 0;
            hasMissed = false;
        }
    }

    public override bool HasToSpeak(Ring ring) => waitingCount > 0 || (hasMissed && ring.HasAvailable);

    public override bool Speak(Ring ring)
    {
        while (TryNext(out var next))
        {
            if (ring.TryTake(buffer) != TakeResult.Taken)
            {
                hasMissed = true;
                return true;
            }

            Write(ring, next);
        }

        if (hasMissed && ring.TryTake(buffer) == TakeResult.Taken)
            Write(ring, (ScsiEvent.None, 0, -1, 0));
        return true;
    }

    private bool TryNext(out (uint Event, int Target, int Lun, uint Reason) next)
    {
        lock (gate)
        {
            var isThere = waiting.TryDequeue(out next);
            waitingCount = waiting.Count;
            return isThere;
        }
    }

    private void Write(Ring ring, (uint Event, int Target, int Lun, uint Reason) next)
    {
        Span<byte> bytes = stackalloc byte[ScsiEvent.Bytes];
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, next.Event | (hasMissed ? ScsiEvent.EventsMissed : 0));
        if (next.Lun >= 0)
            VirtioLun.Write(bytes[4..], next.Target, next.Lun);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[12..], next.Reason);
        hasMissed = false;
        buffer.UsedBytes = buffer.Writable.CopyFrom(bytes);
        ring.PutUsed(buffer);
    }

    /// <summary>A buffer of the driver; it is filled and given back in one go, so nothing of it is ever under way.</summary>
    private sealed class EventBuffer : RingRequest
    {
        public override bool IsAborted => false;

        public override bool Execute() => true;

        public override void Answer()
        {
        }
    }
}
