using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Bench;

/// <summary>
/// A vhost-user front end with the driver of one virtio-scsi request queue in it, as a virtual machine's: memory in a memfd, a split ring, a
/// kick where the device sleeps. It looks for answers without being called.
/// </summary>
internal sealed unsafe class VhostFrontEnd : IDisposable
{
    public const int QueueSize = 128;
    public const int BlockBytes = 4096;

    /// <summary>Header, response and data of one request each take a descriptor.</summary>
    private const int DescriptorsPerSlot = 3;
    private const int SlotsMax = QueueSize / DescriptorsPerSlot;
    private const int SlotBytes = 8192;
    private const int ResponseOffset = 64;
    private const int HeaderBytes = 51;
    private const int ResponseBytes = 108;
    private const int StatusOffset = 10;
    private const int DataOffset = 4096;
    private const ulong GuestBase = 0x1_0000_0000;
    private const ulong UserBase = 0x7000_0000_0000;
    private const int DriverArea = 4096;
    private const int DeviceArea = 8192;
    private const int Slots = 16384;
    private const int MemoryBytes = Slots + (SlotsMax * SlotBytes);
    private const uint QueueIndex = 2;
    private const int SendTimeoutMilliseconds = 5000;
    private const int ReadAlways = 0x28;

    private readonly Socket socket = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly SafeFileHandle file = LinuxCall.CreateMemory("bench", MemoryBytes);
    private readonly SafeFileHandle kick = LinuxCall.CreateEvent();
    private readonly SafeFileHandle call = LinuxCall.CreateEvent();
    private readonly nint memory;
    private ushort available;
    private ushort used;

    public VhostFrontEnd(string path)
    {
        memory = LinuxCall.Map(file, 0, MemoryBytes, out var error);
        if (memory == 0)
            throw new BenchException(error);
        socket.Connect(new UnixDomainSocketEndPoint(path));
        Do(FrontEndMessage.SetFeatures, Number((ulong)(VirtioFeatures.Version1 | VirtioFeatures.ProtocolFeatures)));
        Do(FrontEndMessage.SetMemoryTable, [.. Number(1), .. Number(GuestBase), .. Number(MemoryBytes), .. Number(UserBase), .. Number(0)], file);
        Do(FrontEndMessage.SetRingSize, Pair(QueueSize));
        Do(FrontEndMessage.SetRingBase, Pair(0));
        Do(FrontEndMessage.SetRingAddress, [.. Pair(0), .. Number(UserBase), .. Number(UserBase + DeviceArea), .. Number(UserBase + DriverArea), .. Number(0)]);
        Do(FrontEndMessage.SetRingCall, Number(QueueIndex), call);
        Do(FrontEndMessage.SetRingKick, Number(QueueIndex), kick);
        Do(FrontEndMessage.SetRingEnable, Pair(1));

        // VIRTQ_AVAIL_F_NO_INTERRUPT.
        *(ushort*)(memory + DriverArea) = 1;
        for (var slot = 0; slot < SlotsMax; slot++)
            Prepare(slot);
    }

    public Span<byte> Data(int slot) => new((void*)(memory + Slots + (slot * SlotBytes) + DataOffset), BlockBytes);

    /// <summary>Makes a read of one block available.</summary>
    public void Submit(int slot, uint lba)
    {
        var header = memory + Slots + (slot * SlotBytes);
        BinaryPrimitives.WriteUInt32BigEndian(new Span<byte>((void*)(header + 21), sizeof(uint)), lba);
        *(ushort*)(memory + DriverArea + 4 + (2 * (available % QueueSize))) = (ushort)(slot * DescriptorsPerSlot);
        Volatile.Write(ref *(ushort*)(memory + DriverArea + 2), ++available);
        Interlocked.MemoryBarrier();
        if (Volatile.Read(ref *(ushort*)(memory + DeviceArea)) == 0)
            LinuxCall.Signal(kick);
    }

    /// <summary>The slot of the next answer; -1 while there is none.</summary>
    public int TryTake()
    {
        if (Volatile.Read(ref *(ushort*)(memory + DeviceArea + 2)) == used)
            return -1;
        var slot = *(int*)(memory + DeviceArea + 4 + (8 * (used % QueueSize))) / DescriptorsPerSlot;
        used++;
        var response = memory + Slots + (slot * SlotBytes) + ResponseOffset;
        var status = *(ushort*)(response + StatusOffset);
        return status == 0 ? slot : throw new BenchException($"a read ended with status and response {status:x4}");
    }

    public void Dispose()
    {
        socket.Dispose();
        LinuxCall.Unmap(memory, MemoryBytes);
        file.Dispose();
        kick.Dispose();
        call.Dispose();
    }

    private static byte[] Number(ulong value) => BitConverter.GetBytes(value);

    private static byte[] Pair(uint number) => [.. BitConverter.GetBytes(QueueIndex), .. BitConverter.GetBytes(number)];

    private void Prepare(int slot)
    {
        const ushort next = 1;
        const ushort write = 2;
        var at = GuestBase + Slots + (ulong)(slot * SlotBytes);
        Describe(slot, 0, at, HeaderBytes, next);
        Describe(slot, 1, at + ResponseOffset, ResponseBytes, next | write);
        Describe(slot, 2, at + DataOffset, BlockBytes, write);
        var header = new Span<byte>((void*)(memory + Slots + (slot * SlotBytes)), HeaderBytes);
        header[0] = 1;
        header[2] = 0x40;
        BinaryPrimitives.WriteInt64LittleEndian(header[8..], slot);
        header[19] = ReadAlways;
        header[27] = BlockBytes / 512;
    }

    private void Describe(int slot, int index, ulong address, uint length, ushort flags)
    {
        var number = (slot * DescriptorsPerSlot) + index;
        var at = memory + (number * 16);
        *(ulong*)at = address;
        *(uint*)(at + 8) = length;
        *(ushort*)(at + 12) = flags;
        *(ushort*)(at + 14) = (ushort)(number + 1);
    }

    /// <summary>Sends a message, and asks for the features after it: the answer says that it was carried out.</summary>
    private void Do(FrontEndMessage type, byte[] payload, params SafeFileHandle[] descriptors)
    {
        Send(type, payload, descriptors);
        Send(FrontEndMessage.GetFeatures, [], []);
        var answer = new byte[MessageRule.HeaderBytes + MessageRule.NumberBytes];
        for (var done = 0; done < answer.Length;)
        {
            var read = socket.Receive(answer.AsSpan(done));
            done += read > 0 ? read : throw new BenchException($"{type} was refused");
        }
    }

    private void Send(FrontEndMessage type, byte[] payload, SafeFileHandle[] descriptors)
    {
        byte[] bytes = [.. BitConverter.GetBytes((uint)type), .. BitConverter.GetBytes(MessageRule.Version), .. BitConverter.GetBytes(payload.Length), .. payload];
        if (!LinuxCall.TrySend(socket.SafeHandle, bytes, descriptors, SendTimeoutMilliseconds))
            throw new BenchException($"{type} cannot be sent");
    }
}
