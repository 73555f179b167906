using CowScsi.Layers;

namespace CowScsi.Tcmu.Ring;

/// <summary>What the kernel's mailbox or ring has that no kernel may write. The ring is not touched any more.</summary>
internal enum RingFault : byte
{
    None = 0,
    UnknownVersion = 1,
    RingOutsideRegion = 2,
    HeadOutsideRing = 3,
    EntryLength = 4,
    EntryTooShort = 5,
    CommandIdInUse = 6,
    TaskManagementTooLong = 7,
}

/// <summary>What <see cref="CommandRing.Take"/> found.</summary>
internal enum RingEvent : byte
{
    /// <summary>Nothing that was not taken before.</summary>
    Empty = 1,

    /// <summary>A command; where its Refusal is set it is to be answered and not carried out.</summary>
    Command = 2,

    TaskManagement = 3,

    /// <summary>See <see cref="CommandRing.Fault"/>.</summary>
    Broken = 4,
}

/// <summary>
/// The user-space side of a TCMU command ring. The kernel puts entries at the head; commands are taken here, and answered in any order.
/// One thread uses it. Nothing in it allocates once it has seen its load.
/// </summary>
/// <remarks>
/// <para>An answer takes the place of the oldest entry that has none, whoever that belonged to, and names the command it is for
/// (TCMU_MAILBOX_FLAG_CAP_OOOC): so the tail can move at once, and a slow command holds nobody up. A kernel without that flag gets each
/// answer in the command's own entry, and the tail moves over the answered ones. So the length of each entry is kept here from when it is
/// taken: neither what the kernel wrote over it since nor what we did counts.</para>
/// <para>The kernel is not trusted with our memory: each offset, length and count is read once, then checked, then used.</para>
/// </remarks>
internal sealed unsafe class CommandRing
{
    private const int EntriesAtFirst = 1024;
    private const ulong WriteCacheOn = 1;
    private const ulong WriteCacheOff = 2;

    private readonly byte* region;
    private readonly long regionBytes;
    private readonly byte* ring;
    private readonly uint ringBytes;
    private readonly long dataOffset;
    private readonly ulong[] commandsInUse = new ulong[(ushort.MaxValue + 1) / 64];

    /// <summary>Entries that were taken and are not given back, a circular list; a power of two long.</summary>
    private Entry[] entries = new Entry[EntriesAtFirst];
    private ulong oldestEntry;
    private ulong nextEntry;
    private uint taken;
    private uint tail;
    private uint publishedTail;
    private uint bytesInUse;

    private CommandRing(SharedRegion memory, uint ringOffset, uint ringBytes, RingCapabilities capabilities, uint start)
    {
        Memory = memory;
        region = memory.Start;
        regionBytes = memory.LengthBytes;
        ring = region + ringOffset;
        this.ringBytes = ringBytes;
        dataOffset = (long)ringOffset + ringBytes;
        Capabilities = capabilities;
        taken = tail = publishedTail = start;
    }

    private struct Entry
    {
        public uint Offset;
        public uint Bytes;

        /// <summary>A command: something has to be answered in it.</summary>
        public bool WantsAnswer;
    }

    public SharedRegion Memory { get; }

    public RingCapabilities Capabilities { get; }

    /// <summary>Commands that were taken and not answered.</summary>
    public int CommandCount { get; private set; }

    public RingFault Fault { get; private set; }

    /// <summary>A process had the ring and did not leave it: it died, and what was under way then is not to be taken anew.</summary>
    public bool WasTaken => Volatile.Read(ref *(ulong*)(region + RingLayout.TakenMarkOffset)) != 0;

    private bool IsOutOfOrder => (Capabilities & RingCapabilities.OutOfOrder) != 0;

    private Span<Entry> Oldest => entries.AsSpan((int)(oldestEntry & (ulong)(entries.Length - 1)), 1);

    /// <summary>
    /// Begins at the tail that the mailbox has. What lies between it and the head is taken; where <see cref="WasTaken"/> is true the ring
    /// is to be reset first.
    /// </summary>
    public static RingFault TryOpen(SharedRegion memory, out CommandRing? ring)
    {
        ring = null;
        if (memory.LengthBytes < RingLayout.MailboxBytes)
            return RingFault.RingOutsideRegion;
        var mailbox = memory.Start;
        if (Volatile.Read(ref *(ushort*)(mailbox + RingLayout.VersionOffset)) != RingLayout.MailboxVersion)
            return RingFault.UnknownVersion;
        var capabilities = (RingCapabilities)Volatile.Read(ref *(ushort*)(mailbox + RingLayout.FlagsOffset));
        var ringOffset = Volatile.Read(ref *(uint*)(mailbox + RingLayout.RingOffsetOffset));
        var ringBytes = Volatile.Read(ref *(uint*)(mailbox + RingLayout.RingBytesOffset));
        var start = Volatile.Read(ref *(uint*)(mailbox + RingLayout.TailOffset));
        if (ringOffset < RingLayout.MailboxBytes || ringBytes < RingLayout.CommandEntryBytesMin ||
            (ringOffset | ringBytes | start) % RingLayout.EntryAlignmentBytes != 0 ||
            (long)ringOffset + ringBytes > memory.LengthBytes || start >= ringBytes)
            return RingFault.RingOutsideRegion;
        ring = new CommandRing(memory, ringOffset, ringBytes, capabilities, start);
        return RingFault.None;
    }

    /// <summary>What initiators of the device were last told of its write cache; null where nobody noted it.</summary>
    public bool? WriteCacheMark
    {
        get => Volatile.Read(ref *(ulong*)(region + RingLayout.WriteCacheMarkOffset)) switch
        {
            WriteCacheOn => true,
            WriteCacheOff => false,
            _ => null,
        };
        set => Volatile.Write(ref *(ulong*)(region + RingLayout.WriteCacheMarkOffset), value switch { true => WriteCacheOn, false => WriteCacheOff, null => 0 });
    }

    public void MarkTaken() => Volatile.Write(ref *(ulong*)(region + RingLayout.TakenMarkOffset), 1);

    /// <summary>Everything that was taken has been answered: the next process goes on from here.</summary>
    public void MarkLeft()
    {
        if (CommandCount != 0)
            throw new InvalidOperationException("Commands are under way.");
        Volatile.Write(ref *(ulong*)(region + RingLayout.TakenMarkOffset), 0);
    }

    /// <summary>Takes the next command or task management. Entries that are neither are passed over.</summary>
    public RingEvent Take(RingCommand command, RingTaskManagement management)
    {
        if (Fault != RingFault.None)
            return RingEvent.Broken;
        // Acquire: this read of the head comes before our reads of the entries in front of it, which the kernel wrote before the head.
        var head = Volatile.Read(ref *(uint*)(region + RingLayout.HeadOffset));
        if (head == taken)
            return RingEvent.Empty;
        if (head >= ringBytes || head % RingLayout.EntryAlignmentBytes != 0)
            return Break(RingFault.HeadOutsideRing);
        do
        {
            var at = ring + taken;
            var lengthAndOperation = Volatile.Read(ref *(uint*)(at + RingLayout.LengthAndOperationOffset));
            var entryBytes = lengthAndOperation & ~RingLayout.OperationMask;
            // An entry never goes around the end of the ring: the kernel pads.
            var contiguousBytes = (head > taken ? head : ringBytes) - taken;
            if (entryBytes == 0 || entryBytes > contiguousBytes || entryBytes >= ringBytes - bytesInUse)
                return Break(RingFault.EntryLength);
            switch ((RingOperation)(lengthAndOperation & RingLayout.OperationMask))
            {
                case RingOperation.Pad:
                    Enter(entryBytes, wantsAnswer: false);
                    break;
                case RingOperation.Command:
                    return TakeCommand(at, entryBytes, command);
                case RingOperation.TaskManagement:
                    return TakeManagement(at, entryBytes, management);
                default:
                    *(at + RingLayout.UserFlagsOffset) |= (byte)EntryFlags.UnknownOperation;
                    Enter(entryBytes, wantsAnswer: false);
                    break;
            }
        }
        while (taken != head);
        return RingEvent.Empty;
    }

    /// <summary>Answers a command. The kernel sees it with the next <see cref="Publish"/>.</summary>
    /// <param name="sense">Sense data, of which the first 96 bytes are taken; empty unless the status is CHECK CONDITION.</param>
    /// <param name="readBytes">
    /// How much of the data is valid, where the command read less than it had room for; 0 says nothing, the kernel then takes all.
    /// </param>
    /// <param name="keepsBuffer">The data is still used: the kernel is not to give its room to others until it is told.</param>
    public void Complete(RingCommand command, byte status, ReadOnlySpan<byte> sense, uint readBytes = 0, bool keepsBuffer = false)
    {
        if (!IsInUse(command.Id))
            throw new InvalidOperationException("The command was answered before.");
        SetInUse(command.Id, false);
        CommandCount--;
        if (Fault != RingFault.None)
            return;
        SkipFinished();
        ref var entry = ref IsOutOfOrder ? ref Oldest[0] : ref entries[(int)(command.EntryNumber & (ulong)(entries.Length - 1))];
        var at = ring + entry.Offset;
        var flags = EntryFlags.None;
        if (readBytes != 0 && (Capabilities & RingCapabilities.ReadLength) != 0)
        {
            flags |= EntryFlags.ReadLength;
            *(uint*)(at + RingLayout.ReadLengthOffset) = readBytes;
        }

        if (keepsBuffer && (Capabilities & RingCapabilities.KeepBuffer) != 0)
            flags |= EntryFlags.KeepBuffer;
        *(at + RingLayout.StatusOffset) = status;
        if (!sense.IsEmpty)
        {
            var room = new Span<byte>(at + RingLayout.SenseOffset, RingLayout.SenseBytes);
            var length = Math.Min(sense.Length, room.Length);
            sense[..length].CopyTo(room);
            room[length..].Clear();
        }

        *(ushort*)(at + RingLayout.CommandIdOffset) = command.Id;
        *(at + RingLayout.UserFlagsOffset) = (byte)flags;
        entry.WantsAnswer = false;
        SkipFinished();
    }

    /// <summary>
    /// Lets the kernel see what was answered and passed over since the last time. True where there was anything: the kernel is then to be
    /// told.
    /// </summary>
    public bool Publish()
    {
        if (Fault != RingFault.None)
            return false;
        SkipFinished();
        if (tail == publishedTail)
            return false;
        publishedTail = tail;
        // Release: our writes of the answers come before this write of the tail, which the kernel reads before it reads them.
        Volatile.Write(ref *(uint*)(region + RingLayout.TailOffset), tail);
        return true;
    }

    private RingEvent Break(RingFault fault)
    {
        Fault = fault;
        return RingEvent.Broken;
    }

    private RingEvent TakeCommand(byte* at, uint entryBytes, RingCommand command)
    {
        if (entryBytes < RingLayout.CommandEntryBytesMin)
            return Break(RingFault.EntryTooShort);
        var id = Volatile.Read(ref *(ushort*)(at + RingLayout.CommandIdOffset));
        if (IsInUse(id))
            return Break(RingFault.CommandIdInUse);
        SetInUse(id, true);
        CommandCount++;
        command.Id = id;
        command.EntryNumber = Enter(entryBytes, wantsAnswer: true);
        command.CdbLength = 0;
        command.SliceCount = 0;
        command.Refusal = Read(at, entryBytes, command);
        if (command.Refusal != RingRefusal.None)
            command.SliceCount = 0;
        return RingEvent.Command;
    }

    private RingRefusal Read(byte* at, uint entryBytes, RingCommand command)
    {
        var refusal = ReadCdb(Volatile.Read(ref *(ulong*)(at + RingLayout.CdbOffsetOffset)), command);
        if (refusal != RingRefusal.None)
            return refusal;
        if (Volatile.Read(ref *(uint*)(at + RingLayout.BidirectionalCountOffset)) != 0)
            return RingRefusal.Bidirectional;
        if (Volatile.Read(ref *(uint*)(at + RingLayout.ProtectionCountOffset)) != 0)
            return RingRefusal.ProtectionData;
        var count = Volatile.Read(ref *(uint*)(at + RingLayout.VectorCountOffset));
        if (count > (entryBytes - RingLayout.VectorsOffset) / RingLayout.VectorBytes || count > RingCommand.VectorsMax)
            return RingRefusal.TooManyVectors;
        command.ReserveSlices((int)count);
        var slices = command.Slices;
        var vector = at + RingLayout.VectorsOffset;
        for (var i = 0; i < (int)count; i++, vector += RingLayout.VectorBytes)
        {
            var offset = Volatile.Read(ref *(ulong*)vector);
            var length = Volatile.Read(ref *(ulong*)(vector + sizeof(ulong)));
            if (offset < (ulong)dataOffset || offset > (ulong)regionBytes || length > (ulong)regionBytes - offset || length > int.MaxValue)
                return RingRefusal.VectorOutsideDataArea;
            slices[i] = new IoSlice((nint)(region + offset), (nint)length);
        }

        command.SliceCount = (int)count;
        return RingRefusal.None;
    }

    private RingRefusal ReadCdb(ulong offset, RingCommand command)
    {
        if (offset >= (ulong)regionBytes)
            return RingRefusal.CdbOutsideRegion;
        var available = (int)Math.Min(RingCommand.CdbBytesMax, (ulong)regionBytes - offset);
        new ReadOnlySpan<byte>(region + offset, available).CopyTo(command.CdbRoom);
        var length = CdbLength(command.CdbRoom[..available]);
        if (length > RingCommand.CdbBytesMax)
            return RingRefusal.CdbTooLong;
        if (length > available)
            return RingRefusal.CdbOutsideRegion;
        command.CdbLength = length;
        return RingRefusal.None;
    }

    /// <summary>An entry does not say how long its CDB is: the operation code does (SPC-5, 4.2.5.1, and scsi_command_size_tbl of the kernel).</summary>
    private static int CdbLength(ReadOnlySpan<byte> cdb)
    {
        const byte VariableLength = 0x7F;
        const int AdditionalLengthAt = 7;
        if (cdb[0] == VariableLength)
            return cdb.Length > AdditionalLengthAt ? AdditionalLengthAt + 1 + cdb[AdditionalLengthAt] : AdditionalLengthAt + 1;
        return (cdb[0] >> 5) switch
        {
            0 => 6,
            3 or 5 => 12,
            4 => 16,
            _ => 10,
        };
    }

    private RingEvent TakeManagement(byte* at, uint entryBytes, RingTaskManagement management)
    {
        if (entryBytes < RingLayout.AffectedIdsOffset)
            return Break(RingFault.EntryTooShort);
        var count = Volatile.Read(ref *(uint*)(at + RingLayout.AffectedCountOffset));
        if (count > (entryBytes - RingLayout.AffectedIdsOffset) / sizeof(ushort))
            return Break(RingFault.TaskManagementTooLong);
        management.Function = (RingFunction)Volatile.Read(ref *(at + RingLayout.FunctionOffset));
        new ReadOnlySpan<ushort>(at + RingLayout.AffectedIdsOffset, (int)count).CopyTo(management.Reserve((int)count));
        Enter(entryBytes, wantsAnswer: false);
        return RingEvent.TaskManagement;
    }

    /// <summary>Notes an entry as taken, and goes on to the next.</summary>
    private ulong Enter(uint entryBytes, bool wantsAnswer)
    {
        if (nextEntry - oldestEntry == (ulong)entries.Length)
            Grow();
        entries[(int)(nextEntry & (ulong)(entries.Length - 1))] = new Entry { Offset = taken, Bytes = entryBytes, WantsAnswer = wantsAnswer };
        taken = Advance(taken, entryBytes);
        bytesInUse += entryBytes;
        return nextEntry++;
    }

    /// <summary>Their number is bounded by the ring's length.</summary>
    private void Grow()
    {
        var larger = new Entry[entries.Length * 2];
        for (var number = oldestEntry; number != nextEntry; number++)
            larger[(int)(number & (ulong)(larger.Length - 1))] = entries[(int)(number & (ulong)(entries.Length - 1))];
        entries = larger;
    }

    /// <summary>Gives back what needs no answer, from the oldest on.</summary>
    private void SkipFinished()
    {
        while (oldestEntry != nextEntry)
        {
            ref var entry = ref Oldest[0];
            if (entry.WantsAnswer)
                return;
            tail = Advance(tail, entry.Bytes);
            bytesInUse -= entry.Bytes;
            oldestEntry++;
        }
    }

    private uint Advance(uint from, uint entryBytes)
    {
        var next = from + entryBytes;
        return next == ringBytes ? 0 : next;
    }

    private bool IsInUse(ushort id) => (commandsInUse[id >> 6] & (1UL << (id & 63))) != 0;

    private void SetInUse(ushort id, bool inUse)
    {
        if (inUse)
            commandsInUse[id >> 6] |= 1UL << (id & 63);
        else
            commandsInUse[id >> 6] &= ~(1UL << (id & 63));
    }
}
