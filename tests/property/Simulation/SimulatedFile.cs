using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>A handle on a file of the simulated disk. Everything is in memory, so no read has to wait.</summary>
internal sealed class SimulatedFile(SimulatedDirectory directory, SimulatedContent content) : StoreFile
{
    private const int SectorBytes = 512;

    private bool closed;

    public override string Path => System.IO.Path.Combine(directory.Path, content.Name);

    public override string LastError => "Input/output error";

    public override long LengthBytes
    {
        get
        {
            lock (directory.Gate)
                return content.Bytes.LengthBytes;
        }
    }

    public override FileOutcome Read(Span<byte> destination, long offsetBytes)
    {
        lock (directory.Gate)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            var fault = directory.Faults.Next(DiskCall.Read, content.Name);
            if (fault?.Fault == DiskFault.Error)
                return FileOutcome.Failed;
            if (offsetBytes + destination.Length > content.Bytes.LengthBytes)
                return FileOutcome.EndOfFile;
            if (fault?.Fault == DiskFault.StaleRead)
                content.AtStart.Read(offsetBytes, destination);
            else
                content.Bytes.Read(fault?.Fault == DiskFault.MisdirectedRead ? Elsewhere(offsetBytes, fault.Seed) : offsetBytes, destination);
            if (fault?.Fault == DiskFault.FlippedBit)
                destination[fault.Seed % destination.Length] ^= (byte)(1 << (fault.Seed % 8));
            return FileOutcome.Success;
        }
    }

    public override FileOutcome ReadNow(Span<byte> destination, long offsetBytes)
    {
        // A fault or an end is told by a call that may wait, as on Linux.
        var outcome = Read(destination, offsetBytes);
        return outcome == FileOutcome.Success ? outcome : FileOutcome.WouldWait;
    }

    public override unsafe FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait)
    {
        var vector = (nint*)vectors;
        for (var i = 0; i < vectorCount && lengthBytes > 0; i++, vector += 2)
        {
            var part = (int)Math.Min(vector[1], lengthBytes);
            var outcome = Read(new Span<byte>((void*)vector[0], part), offsetBytes);
            if (outcome != FileOutcome.Success)
                return mayWait ? outcome : FileOutcome.WouldWait;
            offsetBytes += part;
            lengthBytes -= part;
        }

        return FileOutcome.Success;
    }

    public override FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes)
    {
        lock (directory.Gate)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            var fault = directory.Faults.Next(DiskCall.Write, content.Name);
            switch (fault?.Fault)
            {
                case DiskFault.Error:
                    // Some of it may have come through before the error.
                    Store(source[..(fault.Seed % ((source.Length / SectorBytes) + 1) * SectorBytes)], offsetBytes);
                    return FileOutcome.Failed;
                case DiskFault.OutOfSpace:
                    return FileOutcome.OutOfSpace;
                case DiskFault.LostWrite:
                    return FileOutcome.Success;
                case DiskFault.MisdirectedWrite:
                    offsetBytes = Elsewhere(offsetBytes, fault.Seed);
                    break;
            }

            if (!directory.HasSpace(offsetBytes + source.Length - content.Bytes.LengthBytes))
                return FileOutcome.OutOfSpace;
            Store(source, offsetBytes);
            return FileOutcome.Success;
        }
    }

    public override FileOutcome Flush()
    {
        lock (directory.Gate)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            var fault = directory.Faults.Next(DiskCall.Flush, content.Name);
            if (fault?.Fault == DiskFault.LyingFlush)
                return FileOutcome.Success;
            var failed = fault?.Fault is DiskFault.Error;
            Note(new DiskEvent { Kind = failed ? DiskEventKind.FlushFailed : DiskEventKind.Flush });
            return failed ? FileOutcome.Failed : FileOutcome.Success;
        }
    }

    public override FileOutcome Allocate(long offsetBytes, long lengthBytes)
    {
        lock (directory.Gate)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            var end = Math.Max(content.Bytes.LengthBytes, offsetBytes + lengthBytes);
            if (Refusal(DiskCall.Allocate) is var refused and not FileOutcome.Success)
                return refused;
            if (!directory.HasSpace(end - content.Bytes.LengthBytes))
                return FileOutcome.OutOfSpace;
            if (end > content.Bytes.LengthBytes)
                Resize(end);
            return FileOutcome.Success;
        }
    }

    public override FileOutcome SetLength(long lengthBytes)
    {
        lock (directory.Gate)
        {
            ObjectDisposedException.ThrowIf(closed, this);
            if (Refusal(DiskCall.SetLength) is var refused and not FileOutcome.Success)
                return refused;
            if (lengthBytes != content.Bytes.LengthBytes)
                Resize(lengthBytes);
            return FileOutcome.Success;
        }
    }

    public override void Dispose()
    {
        lock (directory.Gate)
            closed = true;
    }

    private FileOutcome Refusal(DiskCall call) => directory.Faults.Next(call, content.Name)?.Fault switch
    {
        DiskFault.Error => FileOutcome.Failed,
        DiskFault.OutOfSpace => FileOutcome.OutOfSpace,
        _ => FileOutcome.Success,
    };

    private void Store(ReadOnlySpan<byte> source, long offsetBytes)
    {
        if (source.IsEmpty)
            return;
        content.Own().Write(offsetBytes, source);
        Note(new DiskEvent { Kind = DiskEventKind.Write, OffsetBytes = offsetBytes, Data = source.ToArray() });
    }

    private void Resize(long lengthBytes)
    {
        content.Own().SetLength(lengthBytes);
        Note(new DiskEvent { Kind = DiskEventKind.Length, LengthBytes = lengthBytes });
    }

    private void Note(DiskEvent what) => directory.Journal.Add(what with { Content = content.Number, Name = content.Name });

    /// <summary>Another sector of the file, chosen by the seed.</summary>
    private long Elsewhere(long offsetBytes, int seed)
    {
        var sectors = Math.Max(2, content.Bytes.LengthBytes / SectorBytes);
        var shift = 1 + (BinaryPrimitives.ReverseEndianness((uint)seed) % (ulong)(sectors - 1));
        return ((offsetBytes / SectorBytes) + (long)shift) % sectors * SectorBytes;
    }
}
