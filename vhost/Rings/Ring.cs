using CowScsi.Layers;
using CowScsi.VhostUser.Memory;

namespace CowScsi.VhostUser.Rings;

/// <summary>What looking for a request in a ring gave.</summary>
internal enum TakeResult : byte
{
    Taken = 1,
    Empty = 2,

    /// <summary>The driver broke the rules of the ring, which is not looked at again until it is set up anew; <see cref="Ring.Fault"/> says how.</summary>
    Broken = 3,
}

/// <summary>Where a ring lies and what was negotiated. Addresses are of this process, and were checked against the memory table.</summary>
/// <param name="Size">Descriptors: 1 to 32768, for a split ring a power of two.</param>
/// <param name="Descriptors">Descriptor table or descriptor ring.</param>
/// <param name="Driver">Available ring or driver event suppression.</param>
/// <param name="Device">Used ring or device event suppression.</param>
/// <param name="HasEventIndex">VIRTIO_F_EVENT_IDX.</param>
/// <param name="HasIndirect">VIRTIO_F_INDIRECT_DESC.</param>
/// <param name="Memory">The guest's memory.</param>
/// <param name="Log">Where written memory is marked; null where nobody wants to know.</param>
/// <param name="LogUsedAddress">The used ring's guest address for the log; null where the ring is not logged.</param>
/// <param name="Inflight">The ring's part of the inflight region; 0 for none.</param>
internal sealed record RingLayout(
    int Size,
    nint Descriptors,
    nint Driver,
    nint Device,
    bool HasEventIndex,
    bool HasIndirect,
    GuestMemory Memory,
    DirtyLog? Log = null,
    ulong? LogUsedAddress = null,
    nint Inflight = 0);

/// <summary>
/// The device's side of a virtqueue. Everything in it is the guest's to change at any moment: each field is read once, and every index,
/// address and length is checked before it is used. Used on its queue's thread only.
/// </summary>
internal abstract class Ring(RingLayout layout)
{
    /// <summary>virtio 1.2, 2.6: the largest queue.</summary>
    public const int SizeMax = 32768;

    public RingLayout Layout { get; } = layout;

    public GuestMemory Memory { get; } = layout.Memory;

    public int Size { get; } = layout.Size;

    /// <summary>How the driver broke the ring; null while it is whole.</summary>
    public string? Fault { get; private set; }

    /// <summary>Whether the driver made a request available that was not taken.</summary>
    public abstract bool HasAvailable { get; }

    /// <summary>The state that GET_VRING_BASE answers and SET_VRING_BASE gives back.</summary>
    public abstract uint Base { get; }

    /// <summary>Takes the next request.</summary>
    public abstract TakeResult TryTake(RingRequest request);

    /// <summary>
    /// Takes the next request of those that were under way when an earlier back end ended, oldest first; <see cref="TakeResult.Empty"/> once
    /// there is none.
    /// </summary>
    public abstract TakeResult TryTakeReplayed(RingRequest request);

    /// <summary>Enters an answered request into the ring; the driver sees it at the latest with <see cref="Publish"/>.</summary>
    public abstract void PutUsed(RingRequest request);

    /// <summary>Shows the driver what was put, and tells whether it wants to be called.</summary>
    public abstract bool Publish();

    /// <summary>Asks the driver to notify of the next request. What became available before is seen by <see cref="HasAvailable"/> afterwards.</summary>
    public abstract void EnableNotifications();

    public abstract void DisableNotifications();

    /// <summary>The ring is stopped in an orderly way, with nothing under way: nothing is to be taken up after it.</summary>
    public abstract void Retire();

    /// <summary>Bytes that a ring of this kind takes: descriptors, driver area, device area.</summary>
    public static (long Descriptors, long Driver, long Device) AreaBytes(bool isPacked, int size) =>
        isPacked ? ((long)size * Descriptor.Bytes, 4, 4) : ((long)size * Descriptor.Bytes, 6 + (2L * size), 6 + (8L * size));

    /// <summary>Gives the ring up until it is set up anew.</summary>
    public TakeResult Break(string fault)
    {
        Fault = fault;
        return TakeResult.Broken;
    }

    /// <summary>Appends a descriptor's memory to a request; the fault, or null.</summary>
    protected string? Append(RingRequest request, ulong address, uint length, bool isWritable)
    {
        long left = length;
        while (left > 0)
        {
            var found = Memory.Find(address, left, out var place);
            if (found == 0)
                return "a descriptor points outside the guest's memory";
            if (!request.TryAppend(new IoSlice(place, (nint)found), isWritable))
                return "a chain has too many pieces, or one to read behind one to write";
            left -= found;
            address += (ulong)found;
        }

        return null;
    }

    /// <summary>The table of an indirect descriptor; the fault, or null.</summary>
    protected string? FindIndirect(in Descriptor descriptor, out nint table, out int count)
    {
        table = 0;
        count = (int)(descriptor.Length / Descriptor.Bytes);
        if (!Layout.HasIndirect)
            return "an indirect descriptor, which was not negotiated";
        if (count == 0 || descriptor.Length % Descriptor.Bytes != 0)
            return "an indirect table whose size is no multiple of a descriptor";
        if (count > RingRequest.DescriptorsMax)
            return "an indirect table of too many descriptors";
        return Memory.Find(descriptor.Address, descriptor.Length, out table) == descriptor.Length
            ? null
            : "an indirect table outside the guest's memory";
    }

    protected void MarkWritten(RingRequest request)
    {
        if (Layout.Log is { } log && request.UsedBytes > 0)
            log.Mark(Memory, request.WritableSlices, request.UsedBytes);
    }

    protected void MarkDeviceArea(long offsetBytes, long lengthBytes)
    {
        if (Layout is { Log: { } log, LogUsedAddress: { } start })
            log.Mark(start + (ulong)offsetBytes, lengthBytes);
    }

    /// <summary>Marks a place of the ring that no log address names: answers of a packed ring stand among its descriptors.</summary>
    protected void MarkOwnPlace(nint address, long lengthBytes)
    {
        if (Layout is { Log: { } log, LogUsedAddress: not null } && Memory.TryGetGuestAddress(address, out var guestAddress))
            log.Mark(guestAddress, lengthBytes);
    }
}
