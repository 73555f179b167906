namespace CowScsi.Tcmu.Ring;

/// <summary>
/// Where the fields of the shared region lie: linux/target_core_user.h, TCMU_VERSION "2.0", in the machine's own byte order. The mailbox
/// is at its start, the command ring where the mailbox says, the data area behind that.
/// </summary>
internal static class RingLayout
{
    /// <summary>TCMU_MAILBOX_VERSION: the only one there has been since Linux 3.18.</summary>
    public const ushort MailboxVersion = 2;

    // struct tcmu_mailbox
    public const int VersionOffset = 0;
    public const int FlagsOffset = 2;
    public const int RingOffsetOffset = 4;
    public const int RingBytesOffset = 8;
    public const int HeadOffset = 12;

    /// <summary>cmd_tail, on a cache line of its own: the one field of the mailbox that is ours.</summary>
    public const int TailOffset = 64;

    /// <summary>
    /// Our own mark, in the line that the kernel leaves to user space and never looks at: 1 while a process has the ring, 0 where none had
    /// it or the last one left it with every command that it took answered.
    /// </summary>
    public const int TakenMarkOffset = 72;

    /// <summary>
    /// Ours as well: what initiators were last told of the write cache, 1 that it is on, 2 that it is off, 0 where nobody noted it. The kernel
    /// does not ask again when another process serves the disk.
    /// </summary>
    public const int WriteCacheMarkOffset = 80;

    public const int MailboxBytes = 128;

    // struct tcmu_cmd_entry_hdr; the low three bits of the first word are the operation, the rest the entry's length.
    public const int LengthAndOperationOffset = 0;
    public const int CommandIdOffset = 4;
    public const int UserFlagsOffset = 7;
    public const uint OperationMask = 7;

    /// <summary>Entries begin and end at multiples of this (TCMU_OP_ALIGN_SIZE).</summary>
    public const int EntryAlignmentBytes = 8;

    // struct tcmu_cmd_entry, req: only the outer structure is packed, so the 64-bit fields of this inner one are aligned.
    public const int VectorCountOffset = 8;
    public const int BidirectionalCountOffset = 12;
    public const int ProtectionCountOffset = 16;
    public const int CdbOffsetOffset = 24;
    public const int VectorsOffset = 48;

    /// <summary>struct iovec: an offset into the region, and a length.</summary>
    public const int VectorBytes = 16;

    // struct tcmu_cmd_entry, rsp
    public const int StatusOffset = 8;
    public const int ReadLengthOffset = 12;
    public const int SenseOffset = 16;
    public const int SenseBytes = 96;

    /// <summary>Least length of a command's entry: the answer needs that much.</summary>
    public const int CommandEntryBytesMin = SenseOffset + SenseBytes;

    // struct tcmu_tmr_entry
    public const int FunctionOffset = 8;
    public const int AffectedCountOffset = 12;
    public const int AffectedIdsOffset = 32;
}

/// <summary>What the kernel can do (TCMU_MAILBOX_FLAG_CAP_*).</summary>
[Flags]
internal enum RingCapabilities : ushort
{
    None = 0,

    /// <summary>Commands may be answered in any order; the answer's entry then names the command.</summary>
    OutOfOrder = 1,

    /// <summary>An answer may tell how much was read.</summary>
    ReadLength = 2,

    /// <summary>The kernel tells of task management, where its attribute tmr_notification is set.</summary>
    TaskManagement = 4,

    /// <summary>A command's data may stay allotted after its answer, until free_kept_buf is written.</summary>
    KeepBuffer = 8,
}

/// <summary>enum tcmu_opcode.</summary>
internal enum RingOperation : byte
{
    Pad = 0,
    Command = 1,
    TaskManagement = 2,
}

/// <summary>TCMU_UFLAG_*: what an answer says beside its status.</summary>
[Flags]
internal enum EntryFlags : byte
{
    None = 0,
    UnknownOperation = 1,
    ReadLength = 2,
    KeepBuffer = 4,
}

/// <summary>TCMU_TMR_*.</summary>
internal enum RingFunction : byte
{
    Unknown = 0,
    AbortTask = 1,
    AbortTaskSet = 2,
    ClearAca = 3,
    ClearTaskSet = 4,
    LogicalUnitReset = 5,
    TargetWarmReset = 6,
    TargetColdReset = 7,

    /// <summary>PERSISTENT RESERVE OUT with PREEMPT AND ABORT: the commands that are named were aborted, nothing was reset.</summary>
    PreemptAndAbort = 128,
}
