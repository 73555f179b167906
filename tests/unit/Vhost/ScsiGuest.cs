using System.Buffers.Binary;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>The answer to a SCSI request, as it stands in the guest's memory (virtio 1.2, 5.6.6.1).</summary>
internal sealed record ScsiAnswer(uint SenseBytes, uint Residual, byte Status, byte Response, byte[] Sense, byte[] Data, uint UsedBytes);

/// <summary>A guest with a virtio SCSI device: control queue, event queue, two request queues.</summary>
internal sealed class ScsiGuest : IDisposable
{
    public const int HeaderBytes = 51;
    public const int ResponseBytes = 108;

    private const int RamBytes = 8 * 1024 * 1024;

    private readonly TestQueue[] queues = new TestQueue[4];
    private ulong next = GuestRam.GuestBase;
    private ulong nextTag = 1;

    public ScsiGuest(TestBackEnd backEnd, FrontEndOptions? options = null)
        : this(backEnd.Connect(), options)
    {
    }

    /// <summary>A guest whose front end is connected already, and belongs to it from here on.</summary>
    public ScsiGuest(TestFrontEnd frontEnd, FrontEndOptions? options = null)
    {
        options ??= new FrontEndOptions();
        Ram = new GuestRam(RamBytes);
        FrontEnd = frontEnd;
        FrontEnd.Negotiate(options, Ram);
        for (var i = 0u; i < queues.Length; i++)
        {
            DriverQueue driver = options.IsPacked
                ? new PackedDriver(Ram, next, options.QueueSize, options.HasEventIndex)
                : new SplitDriver(Ram, next, options.QueueSize, options.HasEventIndex);
            next = driver.End;
            queues[i] = new TestQueue(FrontEnd, i, driver, options.HasKick);
        }
    }

    public GuestRam Ram { get; }

    public TestFrontEnd FrontEnd { get; }

    public TestQueue Control => queues[0];

    public TestQueue Events => queues[1];

    public TestQueue Requests => queues[2];

    public TestQueue OtherRequests => queues[3];

    public static byte[] Lun(int target, int lun) => [1, (byte)target, (byte)(0x40 | (lun >> 8)), (byte)lun, 0, 0, 0, 0];

    public ulong Allocate(int lengthBytes)
    {
        var at = next;
        next += (ulong)((lengthBytes + 15) & ~15);
        return at;
    }

    /// <summary>Submits a command; what to give to <see cref="Finish"/>.</summary>
    public (ushort Id, ulong Response, ulong Data, int DataBytes, ulong Tag) Begin(
        TestQueue queue, byte[] lun, byte[] cdb, byte[]? dataOut = null, int dataInBytes = 0, byte attribute = 0)
    {
        var tag = nextTag++;
        var header = Allocate(HeaderBytes);
        var bytes = Ram.At(header, HeaderBytes);
        bytes.Clear();
        lun.CopyTo(bytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[8..], tag);
        bytes[16] = attribute;
        cdb.CopyTo(bytes[19..]);
        var response = Allocate(ResponseBytes);
        Ram.At(response, ResponseBytes).Fill(0xEE);
        var length = dataOut?.Length ?? dataInBytes;
        var data = Allocate(length);
        List<Piece> pieces = [new(header, HeaderBytes, false)];
        if (dataOut is { Length: > 0 })
        {
            dataOut.CopyTo(Ram.At(data, length));
            pieces.Add(new(data, length, false));
        }

        pieces.Add(new(response, ResponseBytes, true));
        if (dataInBytes > 0)
            pieces.Add(new(data, dataInBytes, true));
        return (queue.Submit(pieces.ToArray()), response, data, length, tag);
    }

    public ScsiAnswer Finish(TestQueue queue, (ushort Id, ulong Response, ulong Data, int DataBytes, ulong Tag) begun)
    {
        var used = queue.Wait(begun.Id);
        var bytes = Ram.At(begun.Response, ResponseBytes);
        var sense = BitConverter.ToUInt32(bytes);
        return new ScsiAnswer(
            sense,
            BitConverter.ToUInt32(bytes[4..]),
            bytes[10],
            bytes[11],
            bytes.Slice(12, (int)Math.Min(sense, 96)).ToArray(),
            Ram.At(begun.Data, begun.DataBytes).ToArray(),
            used);
    }

    public ScsiAnswer Do(byte[] lun, byte[] cdb, byte[]? dataOut = null, int dataInBytes = 0) =>
        Finish(Requests, Begin(Requests, lun, cdb, dataOut, dataInBytes));

    /// <summary>Takes the unit attentions of a logical unit, so that the next command is the test's.</summary>
    public void ClearAttentions(byte[] lun)
    {
        while (Do(lun, new byte[6]).Status != 0)
            Xunit.Assert.True(nextTag < 100, "unit attentions do not end");
    }

    /// <summary>A task management function; its response, and what was answered in the request queue by then.</summary>
    public byte Manage(uint function, byte[] lun, ulong tag = 0)
    {
        var begun = BeginManage(function, lun, tag);
        Control.Wait(begun.Id);
        return Ram.At(begun.Response, 1)[0];
    }

    public (ushort Id, ulong Response) BeginManage(uint function, byte[] lun, ulong tag = 0)
    {
        var request = Allocate(24);
        var bytes = Ram.At(request, 24);
        bytes.Clear();
        BinaryPrimitives.WriteUInt32LittleEndian(bytes[4..], function);
        lun.CopyTo(bytes[8..]);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes[16..], tag);
        var response = Allocate(1);
        Ram.At(response, 1)[0] = 0xEE;
        return (Control.Submit(new Piece(request, 24, false), new Piece(response, 1, true)), response);
    }

    public void Dispose()
    {
        FrontEnd.Dispose();
        foreach (var queue in queues)
            queue.Dispose();
        Ram.Dispose();
    }
}
