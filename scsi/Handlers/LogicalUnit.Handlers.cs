using System.Runtime.CompilerServices;

namespace CowScsi.Scsi;

/// <content>Commands that a program's own <see cref="ScsiCommandHandler"/> sees before the logical unit carries them out.</content>
public sealed partial class LogicalUnit
{
    private readonly ScsiCommandHandler? handler;
    private readonly bool isHandlerFirst;
    private readonly IReadOnlyList<HandledCommand> declared;

    /// <summary>Carries out a command that the handler leaves, or has emulated.</summary>
    internal ValueTask Emulate(ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        if (isHandlerFirst)
            return DispatchChecked(itl, command, entry, isHandled: true);
        if (entry is not null)
            return entry.Handler(itl, command);
        FailUnknown(command);
        return default;
    }

    /// <summary>Asks the handler; where it leaves the command, emulates it.</summary>
    private ValueTask Handle(ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        ValueTask<ScsiAnswer> pending;
        try
        {
            pending = handler!.HandleAsync(new IncomingCommand(itl, command, entry));
            if (!pending.IsCompletedSuccessfully)
                return HandleWhenAnsweredAsync(pending, itl, command, entry);
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            ReportFault(command, fault);
            return default;
        }

        return Finish(pending.Result, itl, command, entry);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask HandleWhenAnsweredAsync(ValueTask<ScsiAnswer> pending, ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        ScsiAnswer answer;
        try
        {
            answer = await pending;
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            ReportFault(command, fault);
            return;
        }

        await Finish(answer, itl, command, entry);
    }

    private ValueTask Finish(ScsiAnswer answer, ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        if (answer.IsNotHandled)
            return command.Task.IsAbortRequested ? default : Emulate(itl, command, entry);
        answer.ApplyTo(command);
        return default;
    }

    /// <summary>A command that the table does not have, in front of a handler that may. The gates of a row that says nothing hold.</summary>
    private ValueTask DispatchUnknown(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Access != ReservationAccess.Unrestricted)
        {
            command.Status = ScsiStatus.ReservationConflict;
            return default;
        }

        if (itl.PortAccess >= PortAccess.Standby)
        {
            command.Fail(SenseCodes.OfPortAccess(itl.PortAccess));
            return default;
        }

        if (operation is { Busy: { } busy } running)
        {
            command.Fail(busy, SenseDetail.AtProgress(running.Progress));
            return default;
        }

        // It may write anything.
        Tokens.RevokeAll();
        return Handle(itl, command, null);
    }

    private void FailUnknown(ScsiCommand command)
    {
        var cdb = command.Cdb;
        if (cdb.Length > 1 && commands.HasServiceActions(cdb[0]))
            command.FailCdb(1, 4);
        else
            command.Fail(SenseCodes.InvalidCommandOperationCode);
    }

    private void ReportFault(ScsiCommand command, Exception fault)
    {
        command.Fail(SenseCodes.InternalTargetFailure);
        var code = command.CdbLength > 0 ? command.Cdb[0] : 0;
        Options.Log?.Invoke($"the handler failed on command {code:X2}h: {fault.GetType().Name}: {fault.Message}");
    }

    private CommandTable FindTable() => CommandTable.For(Device.Geometry, Options).With(declared);
}
