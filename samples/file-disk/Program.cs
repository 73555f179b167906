// A file as a disk: truncate -s 64M disk.img; dotnet run --project samples/file-disk -- disk.img
using CowScsi.Layers;
using CowScsi.Samples;
using Microsoft.Win32.SafeHandles;

if (args is not [var path, ..])
{
    Console.Error.WriteLine($"usage: file-disk FILE [{Serving.Transports}]");
    return 2;
}

// No other process may open it meanwhile: .NET locks it.
return await Serving.RunAsync("file-disk", Path.GetFullPath(path), args.ElementAtOrDefault(1), () =>
{
    var file = File.OpenHandle(path, FileMode.Open, FileAccess.ReadWrite, FileShare.None);
    return new FileDisk(file, RandomAccess.GetLength(file)) { Log = Console.Error.WriteLine };
});

/// <summary>The bytes of a file. Reading and writing wait for the disk below, on four threads of their own.</summary>
internal sealed class FileDisk(SafeFileHandle file, long sizeBytes) : SimpleBlockDevice(BlockGeometry.OfSize(sizeBytes), threads: 4)
{
    protected override BlockOutcome Read(long offsetBytes, Span<byte> destination)
    {
        while (!destination.IsEmpty)
        {
            var count = RandomAccess.Read(file, destination, offsetBytes);
            if (count == 0)
                return BlockOutcome.Unreadable; // somebody made the file shorter
            offsetBytes += count;
            destination = destination[count..];
        }

        return BlockOutcome.Success;
    }

    protected override BlockOutcome Write(long offsetBytes, ReadOnlySpan<byte> source)
    {
        RandomAccess.Write(file, source, offsetBytes);
        return BlockOutcome.Success;
    }

    protected override BlockOutcome Flush()
    {
        RandomAccess.FlushToDisk(file);
        return BlockOutcome.Success;
    }

    public override async ValueTask DisposeAsync()
    {
        await base.DisposeAsync();
        file.Dispose();
    }
}
