using System.Runtime.CompilerServices;
using CowScsi.Iscsi.Pdu;
using CowScsi.Iscsi.Sessions;
using CowScsi.Iscsi.Sockets;
using CowScsi.Layers;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>Where an iSCSI task stands.</summary>
internal enum TaskState : byte
{
    /// <summary>In the pool.</summary>
    Free = 0,

    /// <summary>Its command PDU is arriving, or its CmdSN is not due yet, or write data is missing.</summary>
    Collecting = 1,

    /// <summary>With the SCSI target.</summary>
    Executing = 2,

    /// <summary>The answer is known; it may be held back by a task management function.</summary>
    Ended = 3,
}

/// <summary>
/// One SCSI command on its way through the target: reused, with its data buffer rented for its life. Owned by its session's loop;
/// while it is <see cref="TaskState.Executing"/> its data belongs to the SCSI target.
/// </summary>
internal sealed class IscsiTask
{
    private readonly Action onCompleted;
    private ValueTaskAwaiter awaiter;
    private Session? owner;

    public IscsiTask() => onCompleted = () =>
    {
        // On the thread that has just read the data, while the loop sends what is in front of it.
        DataDigest = Connection.DigestAhead(this);
        Connection.Loop.OnTaskCompleted(this);
    };

    public ScsiCommand Command { get; } = new();

    /// <summary>Link in the loop's list of commands that completed elsewhere.</summary>
    public IscsiTask? NextCompleted { get; set; }

    /// <summary>The connection that the command arrived on and its answer leaves by (connection allegiance, RFC 7143, 4.2.5.1).</summary>
    public IscsiConnection Connection { get; set; } = null!;

    public TaskState State { get; set; }

    public NativeBuffer? Data { get; private set; }

    public uint InitiatorTaskTag { get; set; }

    public uint CmdSN { get; set; }

    /// <summary>Expected Data Transfer Length: what the initiator will send, or has room for.</summary>
    public uint ExpectedBytes { get; set; }

    public bool IsImmediate { get; set; }

    public bool IsRead { get; set; }

    public bool IsWrite { get; set; }

    /// <summary>The command's turn has come: every earlier CmdSN was delivered.</summary>
    public bool IsDelivered { get; set; }

    /// <summary>Unsolicited Data-Out PDUs follow, up to one with the F bit.</summary>
    public bool AwaitsUnsolicited { get; set; }

    /// <summary>Write data received so far; data arrives in order (DataPDUInOrder, DataSequenceInOrder = Yes).</summary>
    public uint ReceivedBytes { get; set; }

    /// <summary>Write data asked for so far, by R2T or unsolicited.</summary>
    public uint SolicitedBytes { get; set; }

    /// <summary>Where the burst that is arriving ends.</summary>
    public uint BurstEnd { get; set; }

    /// <summary>DataSN that the next Data-Out PDU must carry; starts again with each burst.</summary>
    public uint NextDataSN { get; set; }

    public uint NextR2TSN { get; set; }

    /// <summary>R2TSN of the burst that is arriving; bursts arrive in the order of their R2Ts.</summary>
    public uint ArrivingR2TSN { get; set; }

    /// <summary>Upper half of the Target Transfer Tags of this task's R2Ts, so that late data of an earlier task is told apart.</summary>
    public ushort TransferTagBase { get; set; }

    /// <summary>Set where the iSCSI layer refuses the command itself: its data is dropped, and this is the answer.</summary>
    public ScsiStatus? RefusedStatus { get; set; }

    public IscsiSense? RefusedSense { get; set; }

    /// <summary>The data digest where it was taken before the answer's turn; it counts for a single PDU with all of the data.</summary>
    public uint? DataDigest { get; set; }

    /// <summary>The SCSI target threw: the answer is "target failure" (RFC 7143, 11.4.3).</summary>
    public bool HasFailed { get; set; }

    /// <summary>The task management function that decides whether this task's answer is sent.</summary>
    public PendingFunction? HeldBy { get; set; }

    /// <summary>Gives it a data buffer, which counts for the session until the task ends.</summary>
    public void Take(NativeBuffer data, Session session)
    {
        Data = data;
        owner = session;
        session.DataBytes += data.Length;
    }

    /// <summary>The Target Transfer Tag of an R2T; never <see cref="PduField.NoTag"/>, since bit 31 is clear.</summary>
    public uint TransferTag(uint r2tSN) => ((uint)(TransferTagBase & 0x7FFF) << 16) | (ushort)r2tSN;

    /// <summary>
    /// Gives the command to the SCSI target. True where it completed at once; otherwise the loop gets it back through
    /// <see cref="EventLoop.OnTaskCompleted"/>.
    /// </summary>
    public bool Execute(Nexus nexus)
    {
        State = TaskState.Executing;
#pragma warning disable CA2012 // Awaited by hand, without an allocation: completed or continued once here, its result taken once below.
        try
        {
            awaiter = nexus.Target.ExecuteAsync(nexus, Command).GetAwaiter();
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            // A fault before the first wait ends the command like one behind it.
            awaiter = ValueTask.FromException(fault).GetAwaiter();
        }
#pragma warning restore CA2012
        if (awaiter.IsCompleted)
            return true;
        awaiter.UnsafeOnCompleted(onCompleted);
        return false;
    }

    /// <summary>Takes the result of <see cref="Execute"/>, once.</summary>
    public void TakeResult()
    {
        State = TaskState.Ended;
        var completed = awaiter;
        awaiter = default;
        completed.GetResult();
    }

    /// <summary>Ends this life of the object; nothing refers to its data any more.</summary>
    public void ReturnTo(EventLoop loop)
    {
        if (Data is not null)
        {
            owner!.DataBytes -= Data.Length;
            loop.Buffers.Return(Data);
        }

        Data = null;
        owner = null;
        State = TaskState.Free;
        Connection = null!;
        IsImmediate = false;
        IsRead = false;
        IsWrite = false;
        IsDelivered = false;
        AwaitsUnsolicited = false;
        ReceivedBytes = 0;
        SolicitedBytes = 0;
        BurstEnd = 0;
        NextDataSN = 0;
        NextR2TSN = 0;
        ArrivingR2TSN = 0;
        RefusedStatus = null;
        RefusedSense = null;
        HasFailed = false;
        DataDigest = null;
        HeldBy = null;
        loop.ReturnTask(this);
    }
}
