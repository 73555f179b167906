using System.Buffers.Binary;
using System.Runtime.CompilerServices;
using CowScsi.Scsi;
using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser.Scsi;

/// <summary>
/// One SCSI command of a request queue (virtio 1.2, 5.6.6.1). Its data lies in the guest's memory and stays there; header and answer are
/// copied once.
/// </summary>
internal sealed class ScsiRequest : RingRequest
{
    /// <summary>lun 0 (8), id 8 (8), task_attr 16, prio 17, crn 18, cdb 19.</summary>
    public const int HeaderBytes = 19 + VirtioScsiDevice.CdbBytes;

    /// <summary>sense_len 0 (4), resid 4 (4), status_qualifier 8 (2), status 10, response 11, sense 12.</summary>
    public const int ResponseBytes = 12 + VirtioScsiDevice.SenseBytes;

    private const int TagOffset = 8;
    private const int AttributeOffset = 16;
    private const int CdbOffset = 19;

    private readonly VirtioScsiDevice device;
    private readonly ScsiCommand command = new();
    private readonly Action onCompleted;
    private ValueTaskAwaiter awaiter;
    private ScsiResponse refusal;

    public ScsiRequest(VirtioScsiDevice device)
    {
        this.device = device;
        onCompleted = () => Worker.OnCompleted(this);
    }

    public override bool IsAborted => refusal == ScsiResponse.Ok && command.IsAborted;

    public override bool Execute()
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        var readable = Readable;
        var writable = Writable;
        refusal = ScsiResponse.Ok;
        if (readable.CopyTo(header) < HeaderBytes || writable.Length < ResponseBytes)
        {
            IsMalformed = true;
            return true;
        }

        refusal = Prepare(header, out var nexus);
        if (refusal != ScsiResponse.Ok)
            return true;
        command.DataOut = readable.Slice(HeaderBytes);
        command.DataIn = writable.Slice(ResponseBytes);
        if (!command.DataOut.IsEmpty && !command.DataIn.IsEmpty)
        {
            // VIRTIO_SCSI_F_INOUT is not offered.
            refusal = ScsiResponse.Failure;
            return true;
        }

        if (IsReplayed && !RepeatableCommands.Contains(command.Cdb))
        {
            refusal = ScsiResponse.Aborted;
            return true;
        }

#pragma warning disable CA2012 // Awaited by hand, without an allocation: completed or continued once here, its result taken once in Answer.
        awaiter = nexus!.Target.ExecuteAsync(nexus, command).GetAwaiter();
#pragma warning restore CA2012
        if (awaiter.IsCompleted)
            return true;
        awaiter.UnsafeOnCompleted(onCompleted);
        return false;
    }

    public override void Answer()
    {
        Span<byte> response = stackalloc byte[ResponseBytes];
        response.Clear();
        UsedBytes = ResponseBytes;
        var code = refusal == ScsiResponse.Ok ? TakeResult() : refusal;
        if (code is ScsiResponse.Ok or ScsiResponse.Overrun)
            code = Describe(response);
        response[11] = (byte)code;
        Writable.CopyFrom(response);
        command.DataIn = default;
        command.DataOut = default;
    }

    private ScsiResponse Prepare(ReadOnlySpan<byte> header, out Nexus? nexus)
    {
        nexus = null;
        if (!VirtioLun.TryRead(header, out var target, out var lun) || (nexus = device.FindNexus(target)) is null)
            return ScsiResponse.BadTarget;
        command.Reset(header.Slice(CdbOffset, VirtioScsiDevice.CdbBytes));
        command.Lun = lun;
        command.Tag = BinaryPrimitives.ReadUInt64LittleEndian(header[TagOffset..]);
        command.Attribute = header[AttributeOffset] switch
        {
            1 => TaskAttribute.Ordered,
            2 => TaskAttribute.HeadOfQueue,
            3 => TaskAttribute.Aca,
            _ => TaskAttribute.Simple,
        };
        return ScsiResponse.Ok;
    }

    private ScsiResponse TakeResult()
    {
        var ended = awaiter;
        awaiter = default;
        try
        {
            ended.GetResult();
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            device.Connection?.Log($"command {command.Cdb[0]:x2} failed: {fault.Message}");
            return ScsiResponse.TargetFailure;
        }

        if (command.IsAborted)
            return device.IsResetting ? ScsiResponse.Reset : ScsiResponse.Aborted;
        return ScsiResponse.Ok;
    }

    /// <summary>Status, sense data and residual; "overrun" where the command had more to transfer than there was room for.</summary>
    private ScsiResponse Describe(Span<byte> response)
    {
        var senseBytes = Math.Min(command.SenseLength, VirtioScsiDevice.SenseBytes);
        BinaryPrimitives.WriteUInt32LittleEndian(response, (uint)senseBytes);
        command.Sense[..senseBytes].CopyTo(response[12..]);
        response[10] = (byte)command.Status;
        UsedBytes += command.DataInLength;
        var offered = Math.Max(command.DataIn.Length, command.DataOut.Length);
        if (command.TransferLengthWanted > offered)
            return ScsiResponse.Overrun;
        BinaryPrimitives.WriteUInt32LittleEndian(response[4..], (uint)Math.Min(offered - command.TransferLengthWanted, uint.MaxValue));
        return ScsiResponse.Ok;
    }
}
