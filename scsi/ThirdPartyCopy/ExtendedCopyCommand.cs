using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>EXTENDED COPY(LID1) and (LID4) (SPC-4, 6.4 and 6.5), and COPY OPERATION ABORT (6.3).</summary>
internal static class ExtendedCopyCommand
{
    /// <summary>CSCD descriptor ID of the logical unit that the command was sent to (SPC-4, 6.4.5.1).</summary>
    public const ushort ThisUnit = 0xFFFF;

    /// <summary>What docs/scsi.md says of it.</summary>
    public const string LeftOut =
        "Segments of type 02h (block to block) and 07h (verify CSCD). Devices by identification descriptor (E4h), of this nexus or of a target " +
        "where the initiator is logged in. No inline data, no byte offsets, no tapes; a segment that is no multiple of both block sizes is refused.";

    private const int ListLengthField = 10;
    private const int AbortListIdField = 2;
    private const int LongListHeader = CopyParameterList.Lid4HeaderBytes;

    public static ValueTask ExecuteLid1(ItlNexus itl, ScsiCommand command) => Execute(itl, command, isLid4: false);

    public static ValueTask ExecuteLid4(ItlNexus itl, ScsiCommand command) => Execute(itl, command, isLid4: true);

    /// <summary>
    /// COPY OPERATION ABORT: the copy ends before its next piece, as TERMINATED; of a foreground one the command ends with COPY ABORTED.
    /// </summary>
    public static ValueTask Abort(ItlNexus itl, ScsiCommand command)
    {
        if (!itl.Copies.TryAbort(BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AbortListIdField..]), out _))
            command.FailCdb(AbortListIdField);
        return default;
    }

    /// <summary>The bytes of a parameter list, copied once; null where more is announced than any list can have.</summary>
    public static byte[]? ReadList(ScsiCommand command, int bytesMax)
    {
        var listBytes = BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListLengthField..]);
        command.TransferLengthWanted = Math.Min(listBytes, bytesMax);
        if (listBytes > bytesMax)
            return null;
        var bytes = new byte[Math.Min(listBytes, command.DataOut.Length)];
        command.DataOut.CopyTo(bytes);
        return bytes;
    }

    private static ValueTask Execute(ItlNexus itl, ScsiCommand command, bool isLid4)
    {
        if (BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListLengthField..]) == 0)
            return default;
        if (ReadList(command, LongListHeader + CopyLimits.DescriptorListBytesMax) is not { } bytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return default;
        }

        if (!CopyParameterList.TryRead(command, bytes, isLid4, out var list))
            return default;
        var serviceAction = isLid4 ? CopyServiceActions.ExtendedCopyLid4 : CopyServiceActions.ExtendedCopyLid1;
        var operation = new CopyOperation(serviceAction, list.ListId, list.HasListId, list.IsImmediate)
        {
            IsForgottenOnSuccess = list.IsForgottenOnSuccess,
        };
        return CopyRun.TryBegin(itl, command, operation)
            ? new ExtendedCopyRun(itl, operation, list).Start(itl, command, operation)
            : default;
    }

    /// <summary>The segments of one EXTENDED COPY, one after the other.</summary>
    private sealed class ExtendedCopyRun(ItlNexus itl, CopyOperation operation, CopyParameterList list) : CopyRun
    {
        private readonly CopyTransfer transfer = new(operation);

        protected override async ValueTask<CopyFault?> RunAsync(ScsiTask? owner)
        {
            for (var i = 0; i < list.Segments.Length; i++)
            {
                var fault = list.Segments[i].Kind == SegmentKind.Verify
                    ? await VerifyAsync(list.Segments[i])
                    : await CopyAsync(list.Segments[i], owner);
                if (operation.IsAbortRequested || owner is { IsAbortRequested: true })
                    return new CopyFault(SenseCodes.CopyAbortedNoAdditionalSense, i);
                if (fault is not null)
                    return fault with { Segment = i };
                operation.AddSegment();
            }

            return null;
        }

        private async ValueTask<CopyFault?> VerifyAsync(SegmentDescriptor segment)
        {
            if (!TryResolve(segment.Source, SegmentDescriptor.SourceField, out var device, out var fault))
                return fault;
            return segment.Flag ? await transfer.TestAsync(device) : null;
        }

        private ValueTask<CopyFault?> CopyAsync(SegmentDescriptor segment, ScsiTask? owner)
        {
            if (!TryResolve(segment.Source, SegmentDescriptor.SourceField, out var source, out var fault) ||
                !TryResolve(segment.Destination, SegmentDescriptor.DestinationField, out var destination, out fault))
            {
                return new(fault);
            }

            var from = source.Unit.Device.Geometry;
            var to = destination.Unit.Device.Geometry;
            var lengthBytes = segment.BlockCount * (long)(segment.Flag ? to : from).LogicalBlockBytes;
            if (lengthBytes == 0)
                return default;
            if (lengthBytes % from.LogicalBlockBytes != 0 || lengthBytes % to.LogicalBlockBytes != 0)
                return new(new CopyFault(SenseCodes.UnexpectedInexactSegment, 0));
            if (!IsOn(from, segment.SourceLba, lengthBytes))
                return new(OutOfRange(SegmentDescriptor.SourceLbaField));
            if (!IsOn(to, segment.DestinationLba, lengthBytes))
                return new(OutOfRange(SegmentDescriptor.DestinationLbaField));
            return transfer.RunAsync(
                new CopyEnd(source, (long)segment.SourceLba * from.LogicalBlockBytes),
                new CopyEnd(destination, (long)segment.DestinationLba * to.LogicalBlockBytes),
                lengthBytes,
                owner);
        }

        private static bool IsOn(BlockGeometry geometry, ulong lba, long lengthBytes) =>
            new BlockRange(lba, (uint)(lengthBytes / geometry.LogicalBlockBytes), geometry.LogicalBlockBytes).IsOn(geometry);

        /// <summary>The copy manager itself sees it, so no device has answered anything.</summary>
        private static CopyFault OutOfRange(int field) => new(SenseCodes.CopyAbortedNoAdditionalSense, 0) { SegmentField = field };

        private bool TryResolve(ushort id, int field, out ItlNexus device, out CopyFault? fault)
        {
            device = itl;
            fault = null;
            if (id == ThisUnit)
                return true;
            SenseCode code;
            if (id >= list.Devices.Length)
                code = SenseCodes.UnreachableCopyTarget;
            else if (list.Devices[id].DeviceType != 0)
                code = SenseCodes.IncorrectCopyTargetDeviceType;
            else if (!itl.Nexus.Target.Copies.TryResolve(itl.Nexus, list.Devices[id], out var found))
                code = SenseCodes.CopyTargetDeviceNotReachable;
            else if (list.Devices[id].BlockBytes is var block && block != 0 && block != found.Unit.Device.Geometry.LogicalBlockBytes)
                code = SenseCodes.InvalidOperationForCopyTarget;
            else
            {
                device = found;
                return true;
            }

            fault = new CopyFault(code, 0) { SegmentField = field };
            return false;
        }
    }
}
