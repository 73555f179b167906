using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>One end of a transfer: a range of a device, and the way to it.</summary>
/// <param name="Itl">The nexus in whose name the range is touched; its reservations and its aborts count.</param>
/// <param name="OffsetBytes">First byte on the logical unit's device.</param>
internal readonly record struct CopyEnd(ItlNexus Itl, long OffsetBytes)
{
    public LogicalUnit Unit => Itl.Unit;
}

/// <summary>
/// Copies one run of bytes from a logical unit to another, or to another place of its own, in bounded pieces. Each piece is a task of both
/// logical units and passes the checks of a read there and a write here: so aborts, resets, reservations, write protection and exclusive
/// commands see it as they see any other command, and no device is touched that its logical unit has let go.
/// </summary>
internal sealed class CopyTransfer
{
    private static readonly CommandEntry ReadEntry = new(
        "third-party copy, source", "00", Admitted,
        CommandTraits.Medium | CommandTraits.IgnoresUnitAttention | CommandTraits.AllowedUnderWriteExclusive);

    private static readonly CommandEntry WriteEntry = new(
        "third-party copy, destination", "00", Admitted, CommandTraits.Medium | CommandTraits.Writes | CommandTraits.IgnoresUnitAttention);

    private static readonly CommandEntry TestEntry = new(
        "third-party copy, test", "00", Admitted,
        CommandTraits.Medium | CommandTraits.IgnoresUnitAttention | CommandTraits.AllowedUnderWriteExclusive | CommandTraits.AllowedUnderExclusiveAccess);

    /// <summary>
    /// By a token: whoever has one may read what it represents, whatever has been reserved since it was made (SPC-4, 5.17.6.1).
    /// </summary>
    private static readonly CommandEntry TokenReadEntry = new(
        "third-party copy, token", "00", Admitted,
        CommandTraits.Medium | CommandTraits.IgnoresUnitAttention | CommandTraits.IgnoresReservation);

    /// <summary>Only the opcode: what is to be done stands in the transfer.</summary>
    private static readonly byte[] NoCdb = [0];

    private readonly CopyOperation operation;
    private readonly ScsiCommand sourceCommand = new();
    private readonly ScsiCommand destinationCommand = new();
    private CopyEnd source;
    private CopyEnd destination;
    private long pieceStart;
    private long pieceBytes;
    private RodToken? token;
    private bool isZero;
    private bool isTest;
    private bool hasMoved;
    private bool wasInline;
    private CopyResult moved;

    public CopyTransfer(CopyOperation operation)
    {
        this.operation = operation;
        sourceCommand.Transfer = this;
        destinationCommand.Transfer = this;
    }

    /// <summary>What the piece under way writes: the device's bytes that change.</summary>
    public (long OffsetBytes, long LengthBytes) Written => (destination.OffsetBytes + pieceStart, pieceBytes);

    /// <summary>
    /// Copies a run; both ranges lie on their devices as far as is known. Answers what went wrong, or null; also null where the operation is
    /// to end early, which the caller asks it for.
    /// </summary>
    /// <param name="owner">The command that waits for it; null for a copy in the background.</param>
    public ValueTask<CopyFault?> RunAsync(CopyEnd from, CopyEnd to, long lengthBytes, ScsiTask? owner)
    {
        (source, destination, token, isZero, isTest) = (from, to, null, false, false);
        return RunPiecesAsync(lengthBytes, owner);
    }

    /// <summary>Copies a run of what a token represents. It ends with TOKEN REVOKED where that changes meanwhile.</summary>
    public ValueTask<CopyFault?> RunTokenAsync(RodToken represented, CopyEnd from, CopyEnd to, long lengthBytes, ScsiTask? owner)
    {
        (source, destination, token, isZero, isTest) = (from, to, represented, false, false);
        return RunPiecesAsync(lengthBytes, owner);
    }

    /// <summary>Makes a run zeros.</summary>
    public ValueTask<CopyFault?> RunZeroAsync(CopyEnd to, long lengthBytes, ScsiTask? owner)
    {
        (source, destination, token, isZero, isTest) = (to, to, null, true, false);
        return RunPiecesAsync(lengthBytes, owner);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<CopyFault?> RunPiecesAsync(long lengthBytes, ScsiTask? owner)
    {
        var (from, to) = (source, destination);

        // Where the destination begins inside the source, the first pieces would overwrite what the last ones are to read.
        var isBackwards = from.Unit == to.Unit && to.OffsetBytes > from.OffsetBytes && to.OffsetBytes - from.OffsetBytes < lengthBytes;
        for (long done = 0; done < lengthBytes;)
        {
            if (operation.IsAbortRequested || owner is { IsAbortRequested: true })
                return null;

            // A device that was done before it gave the thread back has had it for a piece: the caller's queue is not for one command alone.
            if (wasInline)
                await Task.Yield();
            pieceBytes = Math.Min(CopyLimits.PieceBytes, lengthBytes - done);
            pieceStart = isBackwards ? lengthBytes - done - pieceBytes : done;
            var piece = RunPieceAsync();
            wasInline = piece.IsCompleted;
            if (await piece is { } fault)
                return fault;
            done += pieceBytes;
        }

        return null;
    }

    /// <summary>Whether a device is there and ready; answers what is wrong with it, or null.</summary>
    public async ValueTask<CopyFault?> TestAsync(ItlNexus itl)
    {
        isTest = true;
        source = new CopyEnd(itl, 0);
        Prepare(sourceCommand);
        await itl.Unit.ExecuteTransferAsync(itl, sourceCommand, TestEntry);
        return FaultOf(sourceCommand, isDestination: false);
    }

    private static void Prepare(ScsiCommand command)
    {
        command.Reset(NoCdb);
        command.Tag = ulong.MaxValue; // No transport has tags of this length: only functions for whole task sets meet it.
    }

    private static ValueTask Admitted(ItlNexus itl, ScsiCommand command) => command.Transfer!.OnAdmitted(command);

    private CommandEntry SourceEntry => token is null ? ReadEntry : TokenReadEntry;

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder<>))]
    private async ValueTask<CopyFault?> RunPieceAsync()
    {
        hasMoved = false;
        Prepare(sourceCommand);
        Prepare(destinationCommand);
        if (source.Unit.Order < destination.Unit.Order)
            await source.Unit.ExecuteTransferAsync(source.Itl, sourceCommand, SourceEntry);
        else
            await destination.Unit.ExecuteTransferAsync(destination.Itl, destinationCommand, WriteEntry);

        // A token that is valid now was so while the piece was read: what changes the source ends it first.
        if (token is { State: not RodTokenState.Valid and var state })
            return new CopyFault(RodTokenTable.SenseOf(state), 0);
        if (hasMoved)
        {
            var blocks = moved.CopiedBytes / destination.Unit.Device.Geometry.LogicalBlockBytes;
            operation.AddTransfer(moved.CopiedBytes, blocks);
        }

        return FaultOf(sourceCommand, isDestination: false) ?? FaultOf(destinationCommand, isDestination: true);
    }

    /// <summary>A logical unit lets the piece do its work there: go on to the other one, or do it.</summary>
    private ValueTask OnAdmitted(ScsiCommand command)
    {
        if (isTest)
            return default;
        if (source.Unit != destination.Unit)
        {
            if (command == sourceCommand && source.Unit.Order < destination.Unit.Order)
                return destination.Unit.ExecuteTransferAsync(destination.Itl, destinationCommand, WriteEntry);
            if (command == destinationCommand && destination.Unit.Order < source.Unit.Order)
                return source.Unit.ExecuteTransferAsync(source.Itl, sourceCommand, SourceEntry);
        }

        return MoveAsync();
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask MoveAsync()
    {
        BlockDevice from = isZero ? ZeroSource.Instance : source.Unit.Device;
        var to = destination.Unit.Device;
        moved = await to.CopyFromAsync(from, isZero ? 0 : source.OffsetBytes + pieceStart, destination.OffsetBytes + pieceStart, pieceBytes);
        hasMoved = true;
        if (!moved.IsSuccess)
        {
            var (command, device) = moved.FailedSide == CopySide.Source ? (sourceCommand, from) : (destinationCommand, to);
            command.Fail(BlockResult.Fail(moved.Outcome, moved.FailedOffsetBytes), device.Geometry.LogicalBlockBytes);
        }
        else if (!destination.Unit.Mode.IsWriteCacheEnabled)
        {
            TransferCommands.Finish(await to.FlushAsync(), destinationCommand, to.Geometry);
        }
    }

    /// <summary>What one side's answer means for the copy: a logical unit that is gone, or one that answers with a status.</summary>
    private static CopyFault? FaultOf(ScsiCommand command, bool isDestination)
    {
        if (command.IsAborted)
            return new CopyFault(SenseCodes.ThirdPartyDeviceFailure, 0) { IsDestination = isDestination, Status = ScsiStatus.TaskAborted };
        if (command.Status == ScsiStatus.Good)
            return null;
        var code = command.IsGone ? SenseCodes.CopyTargetDeviceNotReachable : SenseCodes.ThirdPartyDeviceFailure;
        return new CopyFault(code, 0) { IsDestination = isDestination, Status = command.Status, Sense = command.Sense.ToArray() };
    }
}
