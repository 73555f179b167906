using System.Buffers.Binary;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A guest with a virtio block device: one front end, its memory, one queue.</summary>
internal sealed class BlkGuest : IDisposable
{
    public const byte Ok = 0;
    public const byte IoError = 1;
    public const byte Unsupported = 2;

    private const int RamBytes = 8 * 1024 * 1024;

    private ulong next;

    public BlkGuest(TestBackEnd backEnd, FrontEndOptions? options = null)
        : this(backEnd.Connect(), options)
    {
    }

    public BlkGuest(TestFrontEnd frontEnd, FrontEndOptions? options = null)
    {
        options ??= new FrontEndOptions();
        Ram = new GuestRam(RamBytes);
        FrontEnd = frontEnd;
        FrontEnd.Negotiate(options, Ram);
        DriverQueue driver = options.IsPacked
            ? new PackedDriver(Ram, GuestRam.GuestBase, options.QueueSize, options.HasEventIndex)
            : new SplitDriver(Ram, GuestRam.GuestBase, options.QueueSize, options.HasEventIndex);
        Queue = new TestQueue(FrontEnd, 0, driver, options.HasKick);
        next = driver.End;
        HasIndirect = options.HasIndirect;
    }

    public GuestRam Ram { get; }

    public TestFrontEnd FrontEnd { get; }

    public TestQueue Queue { get; }

    public bool HasIndirect { get; }

    /// <summary>Room in the guest's memory.</summary>
    public ulong Allocate(int lengthBytes)
    {
        var at = next;
        next += (ulong)((lengthBytes + 15) & ~15);
        return at;
    }

    public (ulong Address, Piece Piece) Header(uint type, ulong sector)
    {
        var at = Allocate(16);
        var bytes = Ram.At(at, 16);
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, type);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], sector);
        return (at, new Piece(at, 16, IsWritable: false));
    }

    /// <summary>Carries out a request and gives its status.</summary>
    public byte Do(uint type, ulong sector, params ReadOnlySpan<Piece> data)
    {
        var status = Allocate(1);
        Ram.At(status, 1)[0] = 0xFF;
        Piece[] pieces = [Header(type, sector).Piece, .. data, new Piece(status, 1, IsWritable: true)];
        var id = HasIndirect ? Queue.SubmitAt(Allocate(16 * pieces.Length), pieces) : Queue.Submit(pieces);
        Queue.Wait(id);
        return Ram.At(status, 1)[0];
    }

    public byte Write(ulong sector, ReadOnlySpan<byte> data)
    {
        var at = Allocate(data.Length);
        data.CopyTo(Ram.At(at, data.Length));
        return Do(1, sector, new Piece(at, data.Length, IsWritable: false));
    }

    public byte Read(ulong sector, int lengthBytes, out byte[] data)
    {
        var at = Allocate(lengthBytes);
        var status = Do(0, sector, new Piece(at, lengthBytes, IsWritable: true));
        data = Ram.At(at, lengthBytes).ToArray();
        return status;
    }

    public void Dispose()
    {
        FrontEnd.Dispose();
        Queue.Dispose();
        Ram.Dispose();
    }
}
