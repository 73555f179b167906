using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// How a <see cref="ScsiCommandHandler"/> answers a command. The default value is <see cref="NotHandled"/>.
/// </summary>
public readonly struct ScsiAnswer
{
    /// <summary>In place of a byte of the CDB: no field is to blame.</summary>
    private const short NoField = -1;

    private readonly AnswerKind kind;
    private readonly ScsiStatus status;
    private readonly SenseCode code;
    private readonly bool hasLba;
    private readonly short field;

    /// <summary>Bytes of data, or the address that failed.</summary>
    private readonly ulong value;

    private ScsiAnswer(
        AnswerKind kind, ScsiStatus status = ScsiStatus.Good, ulong value = 0, SenseCode code = default, bool hasLba = false, short field = NoField)
    {
        this.kind = kind;
        this.status = status;
        this.value = value;
        this.code = code;
        this.hasLba = hasLba;
        this.field = field;
    }

    private enum AnswerKind : byte
    {
        NotHandled = 0,
        Status = 1,
        DataIn = 2,
        DataOut = 3,
        Sense = 4,
        AsSet = 5,
    }

    /// <summary>The handler leaves the command: the logical unit emulates it, or refuses it where it knows none such.</summary>
    public static ScsiAnswer NotHandled => default;

    /// <summary>GOOD, with no data either way.</summary>
    public static ScsiAnswer Good => new(AnswerKind.Status);

    /// <summary>BUSY: the initiator repeats the command.</summary>
    public static ScsiAnswer Busy => new(AnswerKind.Status, ScsiStatus.Busy);

    /// <summary>CHECK CONDITION, INVALID COMMAND OPERATION CODE: there is no such command.</summary>
    public static ScsiAnswer InvalidOperationCode => CheckCondition(SenseCodes.InvalidCommandOperationCode);

    /// <summary>CHECK CONDITION, INTERNAL TARGET FAILURE: what an exception of a handler is answered with.</summary>
    public static ScsiAnswer TargetFailure => CheckCondition(SenseCodes.InternalTargetFailure);

    /// <summary>The command holds status, sense data and lengths already.</summary>
    internal static ScsiAnswer AsSet => new(AnswerKind.AsSet);

    /// <summary>Whether the handler leaves the command.</summary>
    public bool IsNotHandled => kind == AnswerKind.NotHandled;

    /// <summary>GOOD that says nothing of data.</summary>
    internal bool IsPlainGood => kind == AnswerKind.Status && status == ScsiStatus.Good;

    /// <summary>GOOD; the handler filled the first bytes of <see cref="IncomingCommand.DataIn"/>.</summary>
    /// <param name="bytes">
    /// What there is to send, zero or more. Where it is more than the initiator has room for, the room's length is what was filled, and the
    /// initiator is told of the rest.
    /// </param>
    public static ScsiAnswer GoodWithDataIn(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        return new(AnswerKind.DataIn, value: (ulong)bytes);
    }

    /// <summary>GOOD; the handler took the first bytes of <see cref="IncomingCommand.DataOut"/>.</summary>
    /// <param name="bytes">What the command takes, zero or more; the initiator is told where it sent more or less.</param>
    public static ScsiAnswer GoodAfterDataOut(long bytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(bytes);
        return new(AnswerKind.DataOut, value: (ulong)bytes);
    }

    /// <summary>CHECK CONDITION with sense data; <see cref="SenseCodes"/> has many.</summary>
    public static ScsiAnswer CheckCondition(SenseCode code) => new(AnswerKind.Sense, code: code);

    /// <summary>CHECK CONDITION with sense data whose INFORMATION field is a logical block address.</summary>
    public static ScsiAnswer CheckCondition(SenseCode code, ulong lba) => new(AnswerKind.Sense, value: lba, code: code, hasLba: true);

    /// <summary>CHECK CONDITION, UNRECOVERED READ ERROR: the block at this address cannot be read.</summary>
    public static ScsiAnswer MediumError(ulong lba) => CheckCondition(SenseCodes.UnrecoveredReadError, lba);

    /// <summary>CHECK CONDITION, LOGICAL BLOCK ADDRESS OUT OF RANGE.</summary>
    public static ScsiAnswer OutOfRange(ulong lba) => CheckCondition(SenseCodes.LogicalBlockAddressOutOfRange, lba);

    /// <summary>CHECK CONDITION, INVALID FIELD IN CDB, pointing at the byte that is wrong.</summary>
    /// <param name="cdbByte">0 to 31.</param>
    public static ScsiAnswer InvalidField(int cdbByte)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(cdbByte);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(cdbByte, ScsiCommand.CdbBytesMax);
        return new(AnswerKind.Sense, code: SenseCodes.InvalidFieldInCdb, field: (short)cdbByte);
    }

    /// <summary>A status without sense data: BUSY, TASK SET FULL, RESERVATION CONFLICT, CONDITION MET.</summary>
    /// <exception cref="ArgumentException">CHECK CONDITION, which has sense data.</exception>
    public static ScsiAnswer WithStatus(ScsiStatus status) => status == ScsiStatus.CheckCondition
        ? throw new ArgumentException("CHECK CONDITION comes with sense data: use CheckCondition", nameof(status))
        : new(AnswerKind.Status, status);

    /// <summary>What an initiator is told of a block request that failed; GOOD without data for one that did not.</summary>
    /// <param name="result">The outcome, and the place that failed.</param>
    /// <param name="logicalBlockBytes">512 or 4096, to make an address of the place.</param>
    public static ScsiAnswer Of(BlockResult result, int logicalBlockBytes)
    {
        ArgumentOutOfRangeException.ThrowIfNegativeOrZero(logicalBlockBytes);
        if (result.IsSuccess)
            return Good;
        var code = BlockOutcomeSense.CodeOf(result.Outcome);
        return result.FailedOffsetBytes >= 0 && code.Key == SenseKey.MediumError
            ? CheckCondition(code, (ulong)(result.FailedOffsetBytes / logicalBlockBytes))
            : CheckCondition(code);
    }

    /// <summary>Puts the answer in the command, within the room that the initiator gave.</summary>
    internal void ApplyTo(ScsiCommand command)
    {
        if (kind == AnswerKind.AsSet)
            return;

        // A handler that had the command emulated may answer something else.
        command.Status = status;
        command.SenseLength = 0;
        command.DataInLength = 0;
        command.TransferLengthWanted = 0;
        switch (kind)
        {
            case AnswerKind.DataIn:
                command.DataInLength = Math.Min((long)value, command.DataIn.Length);
                command.TransferLengthWanted = (long)value;
                break;
            case AnswerKind.DataOut:
                command.TransferLengthWanted = (long)value;
                break;
            case AnswerKind.Sense:
                command.Fail(code, hasLba ? SenseDetail.AtLba(value) : field == NoField ? default : SenseDetail.InCdb(field, SenseDetail.WholeByte));
                break;
            default:
                break;
        }
    }
}
