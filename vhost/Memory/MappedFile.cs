using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser.Memory;

/// <summary>
/// A part of a file that the front end shares, mapped into this process. It lives until <see cref="Dispose"/>, which nobody may call
/// while a request that uses it is under way.
/// </summary>
internal sealed class MappedFile : IDisposable
{
    /// <summary>Mappings begin at multiples of this: every huge page size of today divides it.</summary>
    private const long OffsetAlignmentBytes = 1L << 30;

    private readonly SafeFileHandle file;
    private readonly nint mapping;
    private readonly long mappingBytes;
    private readonly long endInFile;
    private readonly nint guard;
    private bool isUnmapped;

    private MappedFile(SafeFileHandle file, nint mapping, long mappingBytes, nint guard, nint address, long lengthBytes, long endInFile)
    {
        this.file = file;
        this.guard = guard;
        this.mapping = mapping;
        this.mappingBytes = mappingBytes;
        this.endInFile = endInFile;
        Address = address;
        LengthBytes = lengthBytes;
    }

    /// <summary>Where the part begins in this process.</summary>
    public nint Address { get; }

    public long LengthBytes { get; }

    /// <summary>Whether the file still has all of the part: false once it was made shorter.</summary>
    public bool IsWhole => LinuxCall.TryGetLength(file, out var length) && length >= endInFile;

    /// <summary>Whether memory of it could not be had when it was used: what stands here since is not the guest's.</summary>
    public bool HasFaulted => MemoryFaults.HasFaulted(guard);

    /// <summary>Maps a part of a file; the descriptor belongs to the mapping from then on, also where this throws.</summary>
    /// <exception cref="FrontEndException">The range is not in the file, or the file cannot be mapped or made safe.</exception>
    public static MappedFile Map(SafeFileHandle file, ulong offsetBytes, ulong lengthBytes, string what)
    {
        try
        {
            if (lengthBytes == 0 || lengthBytes > long.MaxValue / 2 || offsetBytes > long.MaxValue / 2)
                throw new FrontEndException($"{what} of {lengthBytes} bytes at {offsetBytes} cannot be mapped");
            var end = (long)(offsetBytes + lengthBytes);

            // Sealed before its length is looked at, which cannot shrink then.
            var isSealed = LinuxCall.TrySealAgainstShrinking(file);
            if (!LinuxCall.TryGetLength(file, out var fileBytes) || fileBytes < end)
                throw new FrontEndException($"{what} reaches to {end} in a file of {Math.Max(fileBytes, 0)} bytes");
            var page = LinuxCall.PageBytes(file);
            var start = (long)offsetBytes & -OffsetAlignmentBytes;
            var mappingBytes = (end - start + page - 1) & -page;
            var mapping = LinuxCall.Map(file, start, mappingBytes, out var error);
            if (mapping == 0)
                throw new FrontEndException($"{what} of {lengthBytes} bytes cannot be mapped: {error}");
            var guard = MemoryFaults.TryAdd(mapping, mappingBytes);
            if (guard == 0 && (!isSealed || page > Environment.SystemPageSize))
            {
                LinuxCall.Unmap(mapping, mappingBytes);
                throw new FrontEndException(isSealed
                    ? $"{what} lies in huge pages, which may run out while it is used; use a memfd of ordinary pages"
                    : $"{what} is a file that could be made shorter while it is used; use a memfd");
            }

            return new MappedFile(file, mapping, mappingBytes, guard, mapping + (nint)((long)offsetBytes - start), (long)lengthBytes, end);
        }
        catch (FrontEndException)
        {
            file.Dispose();
            throw;
        }
    }

    public void Dispose()
    {
        if (isUnmapped)
            return;
        isUnmapped = true;
        MemoryFaults.Remove(guard);
        LinuxCall.Unmap(mapping, mappingBytes);
        file.Dispose();
    }
}
