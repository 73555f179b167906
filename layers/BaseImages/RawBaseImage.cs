using CowScsi.Engine;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Layers;

/// <summary>A regular file or a block device whose bytes are the disk's bytes. Its size is taken once, when it is opened.</summary>
internal sealed class RawBaseImage : BaseImage
{
    private readonly LinuxFile file;

    /// <summary>A descriptor of its own: looking for holes moves a file position.</summary>
    private readonly SafeFileHandle holes;

    internal RawBaseImage(string path)
    {
        file = LinuxFile.OpenRead(path);
        try
        {
            SizeBytes = file.SeekEnd();
            if (SizeBytes > BaseImages.SizeBytesMax)
                throw new StoreException(StoreError.Invalid, $"'{path}' has {SizeBytes} bytes, more than the 64 TiB a disk can have");
            holes = FileProbe.OpenForRuns(path);
        }
        catch (StoreException)
        {
            file.Dispose();
            throw;
        }
    }

    public override long SizeBytes { get; }

    public override bool TryRead(long offsetBytes, IoBuffer destination, bool mayWait, out BlockOutcome outcome)
    {
        ImageFile.CheckRange(offsetBytes, destination.Length, SizeBytes);
        return ImageFile.TryRead(file, offsetBytes, destination, mayWait, out outcome);
    }

    public override AllocationRun GetAllocation(long offsetBytes, long lengthBytes)
    {
        ImageFile.CheckRange(offsetBytes, lengthBytes, SizeBytes);
        var (isHole, until) = FileProbe.RunAt(holes, offsetBytes, offsetBytes + lengthBytes);
        return new AllocationRun(offsetBytes, until - offsetBytes, isHole ? AllocationState.Deallocated : AllocationState.Mapped);
    }

    public override void Dispose()
    {
        file.Dispose();
        holes.Dispose();
    }
}
