using System.Buffers.Binary;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>
/// A guest with a virtio SCSI host that outlives its back ends: memory, rings and inflight region stay, and each back end that it connects to
/// gets them as the last one left them. Each queue has places for one request each, at addresses of their own.
/// </summary>
internal sealed unsafe class EnduringGuest : IDisposable
{
    public const int QueueCount = 4;
    public const int FirstRequestQueue = 2;
    public const int PlacesPerQueue = 16;
    public const int DataBytes = 4096;

    private const ushort QueueSize = 64;
    private const int ResponseOffset = 64;
    private const int DataOffset = 4096;
    private const int PlaceBytes = 8192;
    private const int RamBytes = 4 * 1024 * 1024;

    private readonly FrontEndOptions options;
    private readonly GuestRam ram = new(RamBytes);
    private readonly DriverQueue[] queues = new DriverQueue[QueueCount];
    private readonly SafeFileHandle[] kicks = new SafeFileHandle[QueueCount];
    private readonly SafeFileHandle call = LinuxCall.CreateEvent();
    private readonly Dictionary<(int Queue, ushort Id), int> underWay = [];
    private readonly ulong places;
    private TestFrontEnd? frontEnd;
    private byte[]? inflight;
    private SafeFileHandle? inflightFile;
    private ulong nextTag = 1;

    public EnduringGuest(bool isPacked)
    {
        options = new FrontEndOptions { IsPacked = isPacked, QueueSize = QueueSize };
        var next = GuestRam.GuestBase;
        for (var i = 0; i < QueueCount; i++)
        {
            queues[i] = isPacked ? new PackedDriver(ram, next, QueueSize, hasEventIndex: true) : new SplitDriver(ram, next, QueueSize, hasEventIndex: true);
            next = queues[i].End;
            kicks[i] = LinuxCall.CreateEvent();
        }

        places = next;
    }

    /// <summary>Requests that were submitted and not answered.</summary>
    public int UnderWay => underWay.Count;

    /// <summary>Connects to the first back end, or to one that takes the place of a dead one.</summary>
    public void Connect(string path)
    {
        frontEnd?.Dispose();
        frontEnd = new TestFrontEnd(path);
        frontEnd.Negotiate(options, ram);
        if (inflight is null)
        {
            inflight = frontEnd.Ask(31, [.. new byte[16], QueueCount, 0, (byte)QueueSize, 0]);
            // The front end closes what it received, when it goes.
            inflightFile = File.OpenHandle($"/proc/self/fd/{frontEnd.Received[^1].DangerousGetHandle()}", FileMode.Open, FileAccess.ReadWrite, FileShare.ReadWrite);
        }

        frontEnd.Do(32, inflight, [inflightFile!]);
        for (var i = 0u; i < QueueCount; i++)
            frontEnd.SetRing(i, queues[i], kicks[i], call);
    }

    /// <summary>Submits the command of a place; places are numbered over all request queues.</summary>
    public void Submit(int place, ReadOnlySpan<byte> cdb, ReadOnlySpan<byte> dataOut, int dataInBytes = 0)
    {
        var queue = FirstRequestQueue + (place / PlacesPerQueue);
        var at = PlaceAt(place);
        var header = ram.At(at, ScsiGuest.HeaderBytes);
        header.Clear();
        ScsiGuest.Lun(0, 0).CopyTo(header);
        BinaryPrimitives.WriteUInt64LittleEndian(header[8..], nextTag++);
        cdb.CopyTo(header[19..]);
        ram.At(at + ResponseOffset, ScsiGuest.ResponseBytes).Fill(0xEE);
        dataOut.CopyTo(ram.At(at + DataOffset, DataBytes));
        var request = new Piece(at, ScsiGuest.HeaderBytes, IsWritable: false);
        var response = new Piece(at + ResponseOffset, ScsiGuest.ResponseBytes, IsWritable: true);
        var id = dataOut.IsEmpty && dataInBytes == 0 ? queues[queue].Submit([request, response])
            : dataOut.IsEmpty ? queues[queue].Submit([request, response, new Piece(at + DataOffset, dataInBytes, IsWritable: true)])
            : queues[queue].Submit([request, new Piece(at + DataOffset, dataOut.Length, IsWritable: false), response]);
        underWay.Add((queue, id), place);
        if (queues[queue].TakeKickWish())
            LinuxCall.Signal(kicks[queue]);
    }

    /// <summary>The place of the next answer; -1 where there is none within a millisecond.</summary>
    public int TakeAnswer()
    {
        for (var look = 0; ; look++)
        {
            for (var queue = FirstRequestQueue; queue < QueueCount; queue++)
            {
                if (!queues[queue].TryTakeUsed(out var id, out _))
                    continue;
                Assert.True(underWay.Remove((queue, id), out var place), $"request {id} of queue {queue} was answered and is not under way");
                return place;
            }

            if (look == 1)
            {
                var entry = new LinuxCall.PollEntry { Descriptor = (int)call.DangerousGetHandle(), Events = LinuxCall.PollIn };
                if (LinuxCall.Poll(&entry, 1, 1_000_000) > 0)
                    LinuxCall.Clear(call);
            }
            else if (look > 1)
            {
                return -1;
            }

            foreach (var queue in queues)
                queue.WantCall(true);
        }
    }

    /// <summary>Status and response of a place's last answer, its sense key, and its data.</summary>
    public (byte Status, byte Response, int SenseKey) Answer(int place)
    {
        var response = ram.At(PlaceAt(place) + ResponseOffset, ScsiGuest.ResponseBytes);
        return (response[10], response[11], BitConverter.ToUInt32(response) > 2 ? response[14] & 0xF : 0);
    }

    public Span<byte> Data(int place) => ram.At(PlaceAt(place) + DataOffset, DataBytes);

    public void Dispose()
    {
        frontEnd?.Dispose();
        inflightFile?.Dispose();
        foreach (var kick in kicks)
            kick.Dispose();
        call.Dispose();
        ram.Dispose();
    }

    private ulong PlaceAt(int place) => places + ((ulong)place * PlaceBytes);
}
