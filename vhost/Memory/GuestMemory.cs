using CowScsi.VhostUser.Messages;

namespace CowScsi.VhostUser.Memory;

/// <summary>One region of a guest's memory.</summary>
/// <param name="GuestAddress">Its guest physical address.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="UserAddress">Its address in the front end, by which rings are named.</param>
/// <param name="File">Its memory here.</param>
internal sealed record MemoryRegion(ulong GuestAddress, ulong SizeBytes, ulong UserAddress, MappedFile File)
{
    public nint Address => File.Address;
}

/// <summary>
/// A guest's memory at one moment: what every address and length from a ring or a message is checked against. Immutable; a change makes a
/// new one. Regions do not overlap and do not wrap.
/// </summary>
internal sealed class GuestMemory
{
    /// <summary>Regions that a front end may have: what QEMU makes of GET_MAX_MEM_SLOTS.</summary>
    public const int RegionsMax = 509;

    public static readonly GuestMemory Empty = new([]);

    private readonly MemoryRegion[] regions;

    private GuestMemory(MemoryRegion[] regions) => this.regions = regions;

    public IReadOnlyList<MemoryRegion> Regions => regions;

    /// <summary>This memory with one region more.</summary>
    /// <exception cref="FrontEndException">It wraps, overlaps another one, or is one too many.</exception>
    public GuestMemory With(MemoryRegion added)
    {
        if (regions.Length >= RegionsMax)
            throw new FrontEndException($"more than {RegionsMax} memory regions");
        if (Wraps(added.GuestAddress, added.SizeBytes) || Wraps(added.UserAddress, added.SizeBytes))
            throw new FrontEndException($"memory region at {added.GuestAddress:x} of {added.SizeBytes:x} wraps around");
        foreach (var region in regions)
        {
            if (Overlap(region.GuestAddress, region.SizeBytes, added.GuestAddress, added.SizeBytes) ||
                Overlap(region.UserAddress, region.SizeBytes, added.UserAddress, added.SizeBytes))
                throw new FrontEndException($"memory region at {added.GuestAddress:x} overlaps that at {region.GuestAddress:x}");
        }

        return new GuestMemory([.. regions, added]);
    }

    /// <summary>This memory without a region; null where it has no such region.</summary>
    public GuestMemory? Without(ulong guestAddress, ulong sizeBytes, ulong userAddress, out MemoryRegion? removed)
    {
        removed = Array.Find(regions, region =>
            region.GuestAddress == guestAddress && region.SizeBytes == sizeBytes && region.UserAddress == userAddress);
        var gone = removed;
        return gone is null ? null : new GuestMemory(Array.FindAll(regions, region => region != gone));
    }

    /// <summary>The place of guest physical memory, and how many of the bytes lie there in one piece; 0 where there is none.</summary>
    public long Find(ulong guestAddress, long lengthBytes, out nint address)
    {
        foreach (var region in regions)
        {
            var offset = guestAddress - region.GuestAddress;
            if (offset >= region.SizeBytes)
                continue;
            address = region.Address + (nint)offset;
            return (long)Math.Min(region.SizeBytes - offset, (ulong)lengthBytes);
        }

        address = 0;
        return 0;
    }

    /// <summary>The place of memory that the front end names by its own address; it must lie in one region.</summary>
    public bool TryFindUser(ulong userAddress, long lengthBytes, out nint address)
    {
        foreach (var region in regions)
        {
            var offset = userAddress - region.UserAddress;
            if (offset >= region.SizeBytes || region.SizeBytes - offset < (ulong)lengthBytes)
                continue;
            address = region.Address + (nint)offset;
            return true;
        }

        address = 0;
        return false;
    }

    /// <summary>The guest physical address of a place in this process; false where it is not the guest's.</summary>
    public bool TryGetGuestAddress(nint address, out ulong guestAddress)
    {
        foreach (var region in regions)
        {
            var offset = (ulong)(address - region.Address);
            if (offset >= region.SizeBytes)
                continue;
            guestAddress = region.GuestAddress + offset;
            return true;
        }

        guestAddress = 0;
        return false;
    }

    private static bool Wraps(ulong start, ulong size) => size == 0 || start + size < start;

    private static bool Overlap(ulong start, ulong size, ulong otherStart, ulong otherSize) =>
        start < otherStart + otherSize && otherStart < start + size;
}
