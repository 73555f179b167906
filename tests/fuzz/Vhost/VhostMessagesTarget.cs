using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Vhost;
using CowScsi.VhostUser;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// What a front end sends, message after message, to a block device or a SCSI host with real memory and rings that run. An input is a byte
/// that chooses the device, seven unused ones, and records: type, flags, size (4 bytes each), descriptors (4 bits each, see
/// <see cref="Descriptor"/>), and so many bytes of payload as size says, or as there are.
/// </summary>
internal sealed class VhostMessagesTarget : FuzzTarget
{
    private const int PrefixBytes = 8;
    private const int RecordBytes = 16;
    private const int MessagesMax = 48;
    private const int RamBytes = 1 << 20;
    private const int DescriptorsMax = 8;
    private const int DescriptorCheckEvery = 128;
    private const uint Noted = 1;
    private const ulong Features = (1UL << 32) | (1UL << 30) | (1UL << 29) | (1UL << 28);

    private readonly GuestRam ram = new(RamBytes);
    private readonly SafeFileHandle ordinaryFile = File.OpenHandle("/dev/null", FileMode.Open, FileAccess.ReadWrite);
    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("fuzz-");
    private readonly Socket listener = new(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
    private readonly VirtioBlkDevice blk = new(new InlineDisk(RamBytes), "fuzz");
    private readonly VirtioScsiDevice scsi = new("fuzz", requestQueues: 2);
    private readonly byte[] image = new byte[RamBytes];
    private int runs;
    private int openAtFirst;

    public VhostMessagesTarget()
    {
        var target = new ScsiTarget("target,t,0x0001");
        target.TryAddLun(0, new LogicalUnit(new InlineDisk(RamBytes), LogicalUnitIdentity.FromDisk(new Guid(1, 2, 3, new byte[8]), "fuzz"), new LogicalUnitOptions()));
        scsi.AddTarget(0, target);
        listener.Bind(new UnixDomainSocketEndPoint(Path.Combine(folder.FullName, "s")));
        listener.Listen(4);

        // Requests wait in the rings of every seed: a message that starts one gets them carried out.
        foreach (var isPacked in new[] { false, true })
        {
            var driver = VhostRingsTarget.Driver(ram, RingPlace(isPacked), isPacked, 16);
            VhostRingsTarget.SubmitBlk(ram, driver, RingPlace(isPacked) + 0x8000);
        }

        ram.At(GuestRam.GuestBase, RamBytes).CopyTo(image);
    }

    public override string Name => "vhost messages";

    public override int InputBytesMax => 4096;

    /// <summary>A session has places for its queues, and each ring that runs a thread.</summary>
    public override long AllocatedBytesMax(int inputBytes) => 2 << 20;

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (var device in new byte[] { 0, 1 })
        {
            foreach (var isPacked in new[] { false, true })
            {
                var ring = (uint)device * 2;
                byte[] address = Address(ring, isPacked);
                List<byte> seed = [device, .. new byte[PrefixBytes - 1]];
                Add(seed, 1, [], []);
                Add(seed, 15, [], []);
                Add(seed, 16, TestNumber(0x1B22B), []);
                Add(seed, 3, [], []);
                Add(seed, 17, [], []);
                Add(seed, 24, [0, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, .. new byte[36]], []);
                Add(seed, 2, TestNumber(Features | (isPacked ? 1UL << 34 : 0)), []);
                Add(seed, 5, [1, 0, 0, 0, 0, 0, 0, 0, .. ram.Describe()], [Descriptor.Ram]);
                Add(seed, 31, [.. new byte[16], 1, 0, 16, 0], []);
                Add(seed, 32, [0, 0, 0x10, 0, 0, 0, 0, 0, .. new byte[8], 1, 0, 16, 0], [Descriptor.Memory]);
                Add(seed, 8, Pair(ring, 16), []);
                Add(seed, 10, Pair(ring, isPacked ? 0x8000_8000 : 0), []);
                Add(seed, 9, address, []);
                Add(seed, 13, TestNumber(ring), [Descriptor.Event]);
                Add(seed, 14, TestNumber(ring), [Descriptor.Event]);
                Add(seed, 12, TestNumber(ring), [Descriptor.Event]);
                Add(seed, 18, Pair(ring, 1), []);
                yield return [.. seed];

                // From here on each goes its own way: logging, other memory, reset.
                List<byte> logging = [.. seed];
                Add(logging, 6, [.. TestNumber(0x10000), .. new byte[8]], [Descriptor.Memory]);
                Add(logging, 7, [], [Descriptor.Event]);
                Add(logging, 2, TestNumber(Features | (1UL << 26) | (isPacked ? 1UL << 34 : 0)), []);
                Add(logging, 9, [.. Pair(ring, 1), .. address[8..32], .. TestNumber(GuestRam.GuestBase)], []);
                Add(logging, 11, Pair(ring, 0), []);
                yield return [.. logging];
                List<byte> memory = [.. seed];
                Add(memory, 36, [], []);
                Add(memory, 37, [.. new byte[8], .. TestNumber(0x9000_0000), .. TestNumber(0x10000), .. TestNumber(0x6000_0000_0000), .. new byte[8]], [Descriptor.Memory]);
                Add(memory, 38, [.. new byte[8], .. TestNumber(0x9000_0000), .. TestNumber(0x10000), .. TestNumber(0x6000_0000_0000), .. new byte[8]], []);
                Add(memory, 25, [32, 0, 0, 0, 1, 0, 0, 0, 0, 0, 0, 0, 0], []);
                Add(memory, 39, TestNumber(15), []);
                Add(memory, 40, [], []);
                Add(memory, 21, [], [Descriptor.Socket]);
                Add(memory, 34, [], []);
                Add(memory, 4, [], []);
                yield return [.. memory];
            }
        }
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        yield return (0, 1);
        for (var at = PrefixBytes; at + RecordBytes <= input.Length;)
        {
            for (var field = 0; field < RecordBytes; field += sizeof(uint))
                yield return (at + field, sizeof(uint));
            var size = (int)Math.Min(BinaryPrimitives.ReadUInt32LittleEndian(input.AsSpan(at + 8)), (uint)(input.Length - at - RecordBytes));
            for (var field = 0; field + sizeof(uint) <= size; field += sizeof(uint))
                yield return (at + RecordBytes + field, sizeof(uint));
            for (var field = 0; field + sizeof(ulong) <= size; field += sizeof(ulong))
                yield return (at + RecordBytes + field, sizeof(ulong));
            at += RecordBytes + size;
        }
    }

    public override string Execute(byte[] input)
    {
        image.CopyTo(ram.At(GuestRam.GuestBase, RamBytes));
        using var front = new Socket(AddressFamily.Unix, SocketType.Stream, ProtocolType.Unspecified);
        front.Connect(listener.LocalEndPoint!);
        var lines = 0;
        VirtioDevice device = input.Length > 0 && (input[0] & 1) != 0 ? scsi : blk;
        var session = new FrontEndSession(device, listener.Accept(), line => lines += CheckLine(line), static () => { });
        var message = new Message();
        var word = "accepted";
        try
        {
            var taken = 0;
            for (var at = PrefixBytes; at + RecordBytes <= input.Length && taken < MessagesMax; taken++)
                at += RecordBytes + Deliver(session, message, input.AsSpan(at), front);
            word = $"accepted {Math.Min(taken, 20)}";
        }
        catch (FrontEndException broken)
        {
            CheckLine(broken.Message);
            word = "refused " + new string([.. broken.Message.Where(static letter => !char.IsAsciiHexDigit(letter))]);
        }
        finally
        {
            message.CloseDescriptors();
            var ended = session.EndAsync().AsTask();
            Require(ended.Wait(TimeSpan.FromSeconds(20)), "a session does not end");
        }

        CheckDescriptors();
        return word;
    }

    public override void Dispose()
    {
        listener.Dispose();
        folder.Delete(recursive: true);
        ordinaryFile.Dispose();
        blk.Dispose();
        scsi.Dispose();
        ram.Dispose();
    }

    /// <summary>Kinds of descriptors, by the four bits that stand for one; 0 ends the list.</summary>
    private enum Descriptor : byte
    {
        Event = 1,
        Ram = 2,
        Memory = 3,
        SmallMemory = 4,
        OrdinaryFile = 5,
        Socket = 6,
    }

    private static byte[] TestNumber(ulong value) => BitConverter.GetBytes(value);

    private static byte[] Pair(uint index, uint number) => [.. BitConverter.GetBytes(index), .. BitConverter.GetBytes(number)];

    private static ulong RingPlace(bool isPacked) => GuestRam.GuestBase + (isPacked ? 0x4_0000UL : 0);

    private static byte[] Address(uint ring, bool isPacked)
    {
        var place = RingPlace(isPacked) - GuestRam.GuestBase + GuestRam.UserBase;
        return [.. Pair(ring, 0), .. TestNumber(place), .. TestNumber(place + 0x2000), .. TestNumber(place + 0x1000), .. TestNumber(0)];
    }

    private static void Add(List<byte> seed, uint type, ReadOnlySpan<byte> payload, ReadOnlySpan<Descriptor> descriptors)
    {
        var kinds = 0u;
        for (var i = 0; i < descriptors.Length; i++)
            kinds |= (uint)descriptors[i] << (4 * i);
        seed.AddRange([.. BitConverter.GetBytes(type), .. BitConverter.GetBytes(9u), .. BitConverter.GetBytes(payload.Length), .. BitConverter.GetBytes(kinds), .. payload]);
    }

    /// <summary>One message, as the server's thread delivers it; bytes of its payload.</summary>
    private int Deliver(FrontEndSession session, Message message, ReadOnlySpan<byte> record, Socket front)
    {
        var size = BinaryPrimitives.ReadUInt32LittleEndian(record[8..]);
        var flags = BinaryPrimitives.ReadUInt32LittleEndian(record[4..]);
        var type = BinaryPrimitives.ReadUInt32LittleEndian(record);
        message.CloseDescriptors();
        for (var kinds = BinaryPrimitives.ReadUInt32LittleEndian(record[12..]); kinds != 0 && message.Descriptors.Count < DescriptorsMax; kinds >>= 4)
            message.Descriptors.Add(Make((Descriptor)(kinds & 15), front));
        if (MessageRule.Explain(type, flags, size, message.Descriptors.Count, session.Negotiated) is { } reason)
            throw new FrontEndException(reason);
        message.Begin(MessageRule.Find(type)!, flags, (int)size);
        var payload = record[RecordBytes..];
        var there = Math.Min(payload.Length, (int)size);
        message.Payload.Clear();
        payload[..there].CopyTo(message.Payload);
        session.Handle(message);

        // Answers are read, or the session would wait for a front end that takes none.
        Span<byte> answers = stackalloc byte[2048];
        while (front.Available > 0)
            front.Receive(answers);
        return there;
    }

    private SafeFileHandle Make(Descriptor kind, Socket front) => kind switch
    {
        Descriptor.Ram => Duplicate(ram.File),
        Descriptor.Memory => LinuxCall.CreateMemory("fuzz", RamBytes),
        Descriptor.SmallMemory => LinuxCall.CreateMemory("fuzz", 4096),
        Descriptor.OrdinaryFile => Duplicate(ordinaryFile),
        Descriptor.Socket => Duplicate(front.SafeHandle),
        _ => LinuxCall.CreateEvent(),
    };

    private static SafeFileHandle Duplicate(System.Runtime.InteropServices.SafeHandle handle) => LinuxCall.Duplicate(handle);

    private static int CheckLine(string line)
    {
        Require(!line.Contains("internal error", StringComparison.Ordinal), line);
        Require(line.Length > 3 && !line.Contains('\n', StringComparison.Ordinal), $"told in other than one line: '{line}'");
        return (int)Noted;
    }

    /// <summary>What sessions were given is closed with them: after hundreds, no more is open than after the first ones.</summary>
    private void CheckDescriptors()
    {
        if (++runs % DescriptorCheckEvery != 0)
            return;
        var open = Directory.EnumerateFileSystemEntries("/proc/self/fd").Count();
        if (openAtFirst == 0)
            openAtFirst = open;
        Require(open < openAtFirst + 64, $"{open} descriptors are open, {openAtFirst} were");
    }
}
