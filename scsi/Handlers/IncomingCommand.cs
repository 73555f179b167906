using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A command as a <see cref="ScsiCommandHandler"/> sees it. It is valid until the handler has answered; memory of its buffers is the
/// transport's and not touched after that.
/// </summary>
/// <remarks>
/// Copying it copies the view, not the command. CDB and buffers come from an initiator, which may be hostile: a CDB may be shorter than its
/// operation code says (<see cref="Cdb"/> has what came), a buffer shorter than the CDB asks for, and the memory of a buffer may be
/// changed by a guest meanwhile. The members here check each length; a handler that reads <see cref="DataOut"/> reads each byte once.
/// </remarks>
public readonly struct IncomingCommand
{
    private readonly ItlNexus itl;
    private readonly ScsiCommand command;
    private readonly CommandEntry? entry;

    internal IncomingCommand(ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        this.itl = itl;
        this.command = command;
        this.entry = entry;
    }

    /// <summary>The CDB as it arrived: 0 to 32 bytes. Transports with CDBs of one size give trailing zeros.</summary>
    public ReadOnlySpan<byte> Cdb => command.Cdb;

    /// <summary>The first byte of the CDB; 0 where it is empty.</summary>
    public byte OperationCode => command.CdbLength > 0 ? command.Cdb[0] : (byte)0;

    /// <summary>The number under which the initiator has the logical unit.</summary>
    public int Lun => itl.Lun;

    /// <summary>The logical unit that the command is for.</summary>
    public LogicalUnit Unit => itl.Unit;

    /// <summary>SCSI name of the initiator port, as its transport has it.</summary>
    public string InitiatorPortName => itl.Nexus.InitiatorPortName;

    /// <summary>The transport's tag, unique among what the initiator has under way.</summary>
    public ulong Tag => command.Tag;

    /// <summary>
    /// Data from the initiator, all that it sent. A transport that does not say which way data goes (TCMU) gives the same memory as
    /// <see cref="DataIn"/>: a command uses one of the two.
    /// </summary>
    public IoBuffer DataOut => command.DataOut;

    /// <summary>Room for data to the initiator. It may hold anything.</summary>
    public IoBuffer DataIn => command.DataIn;

    /// <summary>
    /// True once a task management function wants the command to end. A handler that works long looks at it now and then, and answers
    /// anything: no answer is sent, but the function waits for it.
    /// </summary>
    public bool IsAborted => command.Task.IsAbortRequested;

    /// <summary>
    /// First logical block and number of blocks of a command of 6, 10, 12 or 16 bytes that has them where READ and WRITE have them; false
    /// for another one, and where the CDB is too short. The range is not compared with the device's size.
    /// </summary>
    public bool TryGetBlocks(out ulong lba, out uint blockCount)
    {
        lba = 0;
        blockCount = 0;
        var length = (OperationCode >> 5) switch { 0 => 6, 1 or 2 => 10, 4 => 16, 5 => 12, _ => int.MaxValue };
        if (command.CdbLength < length)
            return false;
        var range = BlockRange.Decode(command.Cdb, itl.Unit.Device.Geometry.LogicalBlockBytes);
        lba = range.Lba;
        blockCount = range.BlockCount;
        return true;
    }

    /// <summary>Answers GOOD with data: as much of it as fits into the initiator's room and the allocation length.</summary>
    /// <param name="data">All that there is to tell; length fields in it say so, cut or not (SPC-5, 4.2.5.6).</param>
    /// <param name="allocationBytes">ALLOCATION LENGTH of the CDB, where the command has one.</param>
    public ScsiAnswer AnswerData(ReadOnlySpan<byte> data, long allocationBytes = long.MaxValue)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(allocationBytes);
        AllocationWriter.Answer(command, data, allocationBytes);
        command.Status = ScsiStatus.Good;
        return ScsiAnswer.AsSet;
    }

    /// <summary>Answers CHECK CONDITION with sense data that the handler made itself.</summary>
    /// <param name="sense">8 to 252 bytes, fixed or descriptor format (response code 70h to 73h).</param>
    /// <exception cref="ArgumentException">That is no sense data.</exception>
    public ScsiAnswer AnswerSense(ReadOnlySpan<byte> sense)
    {
        const int HeaderBytes = 8;
        if (sense.Length is < HeaderBytes or > ScsiCommand.SenseBytesMax || (sense[0] & 0x7F) is < 0x70 or > 0x73)
            throw new ArgumentException("sense data has 8 to 252 bytes and begins with 70h to 73h (SPC-5, 4.5)", nameof(sense));
        command.FailAs(ScsiStatus.CheckCondition, sense);
        return ScsiAnswer.AsSet;
    }

    /// <summary>
    /// Has the logical unit carry the command out as if the handler had left it, and completes when that is done: for a handler that
    /// counts, traces or delays. The result is answered by returning it.
    /// </summary>
    public ValueTask<ScsiAnswer> EmulateAsync()
    {
        var work = itl.Unit.Emulate(itl, command, entry);
        if (!work.IsCompletedSuccessfully)
            return FinishAsync(work);
        work.GetAwaiter().GetResult();
        return new(ScsiAnswer.AsSet);
    }

    /// <summary>The status that <see cref="EmulateAsync"/> gave the command.</summary>
    public ScsiStatus EmulatedStatus => command.Status;

    /// <summary>Bytes at the start of <see cref="DataIn"/> that <see cref="EmulateAsync"/> filled.</summary>
    public long EmulatedBytes => command.DataInLength;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private static async ValueTask<ScsiAnswer> FinishAsync(ValueTask work)
    {
        await work;
        return ScsiAnswer.AsSet;
    }
}
