using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>What an initiator can ask about its copies: RECEIVE COPY STATUS, DATA, FAILURE DETAILS and OPERATING PARAMETERS (SPC-4, 6.18 to
/// 6.24, which SPC-3 calls RECEIVE COPY RESULTS).</summary>
internal static class ReceiveCopyCommands
{
    private const int ListIdField = 2;
    private const int AllocationField = 10;
    private const int StatusLid1Bytes = 12;
    private const int StatusHeaderBytes = 32;
    private const int FailureHeaderBytes = 60;
    private const int ParametersBytes = 44;

    private const byte InProgress = 0x00;
    private const byte CompletedWithoutErrors = 0x01;
    private const byte CompletedWithErrors = 0x02;
    private const byte ForegroundInProgress = 0x11;
    private const byte BackgroundInProgress = 0x12;
    private const byte OperationTerminated = 0x60;

    private const byte UnitBytes = 0x00;
    private const byte UnitKibibytes = 0x01;
    private const byte UnitMebibytes = 0x02;
    private const byte UnitBlocks = 0xF1;

    /// <summary>ESTIMATED STATUS UPDATE DELAY, in milliseconds: how long a piece may take.</summary>
    private const uint UpdateDelayMilliseconds = 100;

    /// <summary>ESTIMATED STATUS UPDATE DELAY of a copy that has ended.</summary>
    private const uint NoUpdateToCome = 0xFFFF_FFFE;

    /// <summary>RECEIVE COPY STATUS(LID1).</summary>
    public static ValueTask StatusLid1(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Copies.FindStatus(command.Cdb[ListIdField]) is not { } operation)
            return Unknown(command);
        var progress = operation.Progress;
        Span<byte> data = stackalloc byte[StatusLid1Bytes];
        data.Clear();
        BinaryPrimitives.WriteInt32BigEndian(data, StatusLid1Bytes - 4);
        if (progress.IsEnded)
            data[4] = progress.State == CopyState.Completed ? CompletedWithoutErrors : CompletedWithErrors;
        else
            data[4] = InProgress;
        BinaryPrimitives.WriteUInt16BigEndian(data[5..], (ushort)progress.Segments);
        (data[7], var count) = progress.Bytes switch
        {
            <= uint.MaxValue => (UnitBytes, progress.Bytes),
            <= uint.MaxValue * 1024L => (UnitKibibytes, progress.Bytes >> 10),
            _ => (UnitMebibytes, progress.Bytes >> 20),
        };
        BinaryPrimitives.WriteUInt32BigEndian(data[8..], (uint)count);
        if (Answer(command, data))
            itl.Copies.OnTold(operation, status: progress.IsEnded, failure: false);
        return default;
    }

    /// <summary>RECEIVE COPY DATA(LID1): no segment that is carried out holds data, so there are none.</summary>
    public static ValueTask DataLid1(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Copies.FindEnded(command.Cdb[ListIdField]) is null)
            return Unknown(command);
        Span<byte> data = stackalloc byte[4];
        data.Clear();
        Answer(command, data);
        return default;
    }

    /// <summary>RECEIVE COPY FAILURE DETAILS(LID1): the status and the sense data that the copy ended with, or nothing if it succeeded.</summary>
    public static ValueTask FailureDetailsLid1(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Copies.FindEnded(command.Cdb[ListIdField]) is not { } operation)
            return Unknown(command);
        var sense = operation.Sense;
        Span<byte> data = stackalloc byte[FailureHeaderBytes + CopySense.BytesMax];
        data.Clear();
        var length = 4;
        if (sense.Length > 0)
        {
            length = FailureHeaderBytes + sense.Length;
            BinaryPrimitives.WriteInt32BigEndian(data, length - 4);
            data[56] = (byte)operation.Progress.Status;
            BinaryPrimitives.WriteUInt16BigEndian(data[58..], (ushort)sense.Length);
            sense.CopyTo(data[FailureHeaderBytes..]);
        }

        if (Answer(command, data[..length]))
            itl.Copies.OnTold(operation, status: false, failure: true);
        return default;
    }

    /// <summary>RECEIVE COPY STATUS(LID4).</summary>
    public static ValueTask StatusLid4(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Copies.FindStatus(BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListIdField..])) is not { } operation)
            return Unknown(command);
        var progress = operation.Progress;
        Span<byte> data = stackalloc byte[StatusHeaderBytes + CopySense.BytesMax];
        var length = WriteStatus(data, operation, progress);
        BinaryPrimitives.WriteInt32BigEndian(data, length - 4);
        if (Answer(command, data[..length]))
            itl.Copies.OnTold(operation, status: progress.IsEnded, failure: progress.IsEnded);
        return default;
    }

    /// <summary>RECEIVE COPY OPERATING PARAMETERS: <see cref="CopyLimits"/>.</summary>
    public static ValueTask OperatingParameters(ItlNexus itl, ScsiCommand command)
    {
        const byte NoListIdSupported = 0x01;
        var codes = ThirdPartyCopyPage.DescriptorCodes;
        Span<byte> data = stackalloc byte[ParametersBytes + byte.MaxValue];
        data.Clear();
        var length = ParametersBytes + codes.Length;
        BinaryPrimitives.WriteInt32BigEndian(data, length - 4);
        data[4] = NoListIdSupported;
        BinaryPrimitives.WriteUInt16BigEndian(data[8..], CopyLimits.CscdDescriptorsMax);
        BinaryPrimitives.WriteUInt16BigEndian(data[10..], CopyLimits.SegmentDescriptorsMax);
        BinaryPrimitives.WriteInt32BigEndian(data[12..], CopyLimits.DescriptorListBytesMax);

        // MAXIMUM SEGMENT LENGTH: no limit but that of the count. No inline data, no held data, no stream devices.
        BinaryPrimitives.WriteUInt16BigEndian(data[34..], CopyLimits.CopiesMax);
        data[36] = CopyLimits.CopiesMax; // MAXIMUM CONCURRENT COPIES with list identifiers; then three granularities of 2^0 bytes.
        data[43] = (byte)codes.Length;
        codes.CopyTo(data[ParametersBytes..]);
        Answer(command, data[..length]);
        return default;
    }

    /// <summary>What RECEIVE COPY STATUS(LID4) and RECEIVE ROD TOKEN INFORMATION begin with; answers its length.</summary>
    public static int WriteStatus(Span<byte> data, CopyOperation operation, CopyProgress progress)
    {
        var sense = operation.Sense;
        var isCopy = operation.ServiceAction is CopyServiceActions.ExtendedCopyLid1 or CopyServiceActions.ExtendedCopyLid4;
        data.Clear();
        data[4] = (byte)operation.ServiceAction;
        data[5] = progress.State switch
        {
            CopyState.Foreground => ForegroundInProgress,
            CopyState.Background => BackgroundInProgress,
            CopyState.Completed => CompletedWithoutErrors,
            CopyState.Terminated => OperationTerminated,
            _ => CompletedWithErrors,
        };
        BinaryPrimitives.WriteUInt16BigEndian(data[6..], (ushort)Math.Min(progress.Transfers, ushort.MaxValue));
        BinaryPrimitives.WriteUInt32BigEndian(data[8..], progress.IsEnded ? NoUpdateToCome : UpdateDelayMilliseconds);
        data[12] = (byte)progress.Status;
        data[13] = (byte)sense.Length;
        data[14] = (byte)sense.Length;
        data[15] = isCopy ? UnitBytes : UnitBlocks;
        BinaryPrimitives.WriteInt64BigEndian(data[16..], isCopy ? progress.Bytes : progress.Blocks);
        BinaryPrimitives.WriteUInt16BigEndian(data[24..], (ushort)progress.Segments);
        sense.CopyTo(data[StatusHeaderBytes..]);
        return StatusHeaderBytes + sense.Length;
    }

    /// <summary>Answers, and says whether the initiator had room for all of it: what it could not take is not told yet.</summary>
    public static bool Answer(ScsiCommand command, ReadOnlySpan<byte> data)
    {
        AllocationWriter.Answer(command, data, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AllocationField..]));
        return command.DataInLength == data.Length;
    }

    private static ValueTask Unknown(ScsiCommand command)
    {
        command.FailCdb(ListIdField);
        return default;
    }
}
