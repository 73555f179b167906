using System.Buffers.Binary;
using CowScsi.Scsi;
using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser.Scsi;

/// <summary>
/// One request of the control queue (virtio 1.2, 5.6.6.2): a task management function, or a question for asynchronous notifications, of
/// which there are none. A function is answered when every command that it ended has been answered, in whichever queue.
/// </summary>
internal sealed class ControlRequest(VirtioScsiDevice device) : RingRequest
{
    /// <summary>type 0 (4), subtype 4 (4), lun 8 (8), id 16 (8).</summary>
    private const int FunctionBytes = 24;

    /// <summary>type 0 (4), lun 4 (8), event_requested 12 (4).</summary>
    private const int NotificationBytes = 16;

    /// <summary>event_actual 0 (4), response 4.</summary>
    private const int NotificationAnswerBytes = 5;

    private ScsiResponse response;
    private bool isNotification;

    public override bool IsAborted => false;

    public override bool Execute()
    {
        Span<byte> bytes = stackalloc byte[FunctionBytes];
        bytes.Clear();
        var length = Readable.CopyTo(bytes);
        var type = length < sizeof(uint) ? uint.MaxValue : BinaryPrimitives.ReadUInt32LittleEndian(bytes);
        isNotification = type is (uint)ControlRequestType.NotificationQuery or (uint)ControlRequestType.NotificationSubscribe;
        IsMalformed = isNotification
            ? length < NotificationBytes || Writable.Length < NotificationAnswerBytes
            : length < FunctionBytes || Writable.Length < 1;
        if (IsMalformed)
            return true;
        response = isNotification ? AnswerNotification(bytes[4..]) : ScsiResponse.FunctionRejected;
        if (type != (uint)ControlRequestType.TaskManagement)
            return true;
        return Begin(BinaryPrimitives.ReadUInt32LittleEndian(bytes[4..]), bytes[8..], BinaryPrimitives.ReadUInt64LittleEndian(bytes[16..]));
    }

    public override void Answer()
    {
        Span<byte> answer = stackalloc byte[NotificationAnswerBytes];
        answer.Clear();
        if (isNotification)
            answer[4] = (byte)response;
        else
            answer[0] = (byte)response;
        UsedBytes = Writable.CopyFrom(isNotification ? answer : answer[..1]);
    }

    private ScsiResponse AnswerNotification(ReadOnlySpan<byte> lunBytes) =>
        VirtioLun.TryRead(lunBytes, out var target, out _) && device.FindNexus(target) is not null ? ScsiResponse.Ok : ScsiResponse.BadTarget;

    private bool Begin(uint subtype, ReadOnlySpan<byte> lunBytes, ulong tag)
    {
        TaskManagementFunction? function = subtype switch
        {
            0 => TaskManagementFunction.AbortTask,
            1 => TaskManagementFunction.AbortTaskSet,
            2 => TaskManagementFunction.ClearAca,
            3 => TaskManagementFunction.ClearTaskSet,
            4 => TaskManagementFunction.ITNexusReset,
            5 => TaskManagementFunction.LogicalUnitReset,
            6 => TaskManagementFunction.QueryTask,
            7 => TaskManagementFunction.QueryTaskSet,
            _ => null,
        };
        if (function is not { } known)
            return true;
        if (!VirtioLun.TryRead(lunBytes, out var target, out var lun) || device.FindNexus(target) is not { } nexus)
        {
            response = ScsiResponse.BadTarget;
            return true;
        }

        _ = RunAsync(nexus, known, lun, tag);
        return false;
    }

    private async Task RunAsync(Nexus nexus, TaskManagementFunction function, ulong lun, ulong tag)
    {
        var resets = function is TaskManagementFunction.LogicalUnitReset or TaskManagementFunction.ITNexusReset;
        device.CountReset(resets ? 1 : 0);
        try
        {
            response = await nexus.Target.ManageAsync(nexus, function, lun, tag) switch
            {
                TaskManagementResponse.FunctionSucceeded => ScsiResponse.FunctionSucceeded,
                TaskManagementResponse.FunctionRejected => ScsiResponse.FunctionRejected,
                TaskManagementResponse.IncorrectLogicalUnit => ScsiResponse.IncorrectLun,

                // An abort of a task that has ended already is complete (SAM-5, 7.2).
                _ => ScsiResponse.Ok,
            };
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            device.Connection?.Log($"{function} failed: {fault.Message}");
            response = ScsiResponse.TargetFailure;
        }

        device.Connection!.AfterAbortedAnswers(() =>
        {
            device.CountReset(resets ? -1 : 0);
            Worker.OnCompleted(this);
        });
    }
}
