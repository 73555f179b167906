namespace CowScsi.Iscsi.Sockets;

/// <summary>A descriptor that an event loop watches: a portal or a connection. Its members run on the loop's thread only.</summary>
internal abstract class EventSource
{
    /// <summary>The loop that owns this source; set when it is added.</summary>
    public EventLoop Loop { get; set; } = null!;

    /// <summary>The loop's name for this source, -1 while it is watched by none.</summary>
    public int Slot { get; set; } = -1;

    public abstract int Descriptor { get; }

    /// <summary>The descriptor is readable, writable or broken.</summary>
    public abstract void OnReady(uint events);

    /// <summary>Commands completed elsewhere since the last call have been handed over; answers may be sent.</summary>
    public abstract void OnCompletionsDelivered();

    /// <summary>Called about twice a second, for time limits.</summary>
    public abstract void OnTick(long nowMilliseconds);

    /// <summary>The loop ends, and with it whatever it still watches.</summary>
    public abstract void Abandon();

    /// <summary>The last resort: a member above threw, which is a defect. The source takes itself out of service.</summary>
    public abstract void OnFault(Exception fault);
}
