namespace CowScsi.VhostUser.Rings;

/// <summary>What a device does with one of its queues. Its members run on the queue's thread.</summary>
internal abstract class DeviceQueue
{
    /// <summary>False for a queue whose buffers the device fills when it has something to say.</summary>
    public virtual bool TakesRequests => true;

    /// <summary>A request object of this queue's kind; they are pooled.</summary>
    public abstract RingRequest CreateRequest();

    /// <summary>Fills buffers of the ring with what the device has to say; true where it did anything.</summary>
    public virtual bool Speak(Ring ring) => false;

    /// <summary>Whether <see cref="Speak"/> would do anything: the thread does not sleep while it would.</summary>
    public virtual bool HasToSpeak(Ring ring) => false;
}
