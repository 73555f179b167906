using CowScsi.Layers;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser.Memory;

/// <summary>
/// The log of a live migration (VHOST_USER_SET_LOG_BASE): one bit for each 4096 bytes of guest memory that were written here. It is set
/// after the memory was written and before the guest can learn of it. Each ring has an object of its own over the one log.
/// </summary>
internal sealed unsafe class DirtyLog(MappedFile file, SafeFileHandle? changed)
{
    private const int PageShift = 12;
    private const int WordBits = 32;

    private readonly long wordCount = file.LengthBytes / sizeof(int);

    private bool hasMarked;

    /// <summary>Marks guest physical memory as written. What the log has no bit for is not marked.</summary>
    public void Mark(ulong guestAddress, long lengthBytes)
    {
        if (lengthBytes <= 0)
            return;
        hasMarked = true;
        var words = (int*)file.Address;
        var last = (guestAddress + (ulong)lengthBytes - 1) >> PageShift;
        for (var page = guestAddress >> PageShift; page <= last; page++)
        {
            if (page / WordBits >= (ulong)wordCount)
                return;
            Interlocked.Or(ref words[page / WordBits], 1 << (int)(page % WordBits));
        }
    }

    /// <summary>Marks the first bytes of a request's memory.</summary>
    public void Mark(GuestMemory memory, ReadOnlySpan<IoSlice> slices, long lengthBytes)
    {
        foreach (var slice in slices)
        {
            if (lengthBytes <= 0)
                return;
            var part = Math.Min(lengthBytes, slice.Length);
            if (memory.TryGetGuestAddress(slice.Address, out var guestAddress))
                Mark(guestAddress, part);
            lengthBytes -= part;
        }
    }

    /// <summary>Tells the front end that there is something new, where it wants to know (VHOST_USER_SET_LOG_FD).</summary>
    public void Notify()
    {
        if (hasMarked && changed is not null)
            LinuxCall.Signal(changed);
        hasMarked = false;
    }
}
