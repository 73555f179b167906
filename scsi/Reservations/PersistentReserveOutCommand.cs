using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>PERSISTENT RESERVE OUT (SPC-5, 6.17). Each service action is a row of the command table.</summary>
internal static class PersistentReserveOutCommand
{
    private const int ListLengthField = 5;
    private const int TypeField = 2;

    private delegate ReservationOutcome Rule(ReservationDraft draft, ReservationRequest request);

    public static ValueTask Register(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.Register, isRegister: true);

    public static ValueTask RegisterAndIgnore(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.RegisterAndIgnore);

    public static ValueTask Reserve(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.Reserve);

    public static ValueTask Release(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.Release);

    public static ValueTask Clear(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.Clear);

    public static ValueTask Preempt(ItlNexus itl, ScsiCommand command) => Execute(itl, command, ReservationRules.Preempt);

    public static ValueTask PreemptAndAbort(ItlNexus itl, ScsiCommand command) =>
        Execute(itl, command, ReservationRules.Preempt, aborts: true);

    public static ValueTask Move(ItlNexus itl, ScsiCommand command)
    {
        if (!TryCopyList(command, out var list) || !ReservationParameters.TryReadMove(itl, command, list, out var request))
            return default;
        return ApplyAsync(itl, command, ReservationRules.Move, request, aborts: false);
    }

    private static ValueTask Execute(ItlNexus itl, ScsiCommand command, Rule rule, bool isRegister = false, bool aborts = false)
    {
        if (!TryCopyList(command, out var list) || !ReservationParameters.TryRead(itl, command, list, isRegister, out var request))
            return default;
        return ApplyAsync(itl, command, rule, request, aborts);
    }

    private static bool TryCopyList(ScsiCommand command, out byte[] list)
    {
        var listBytes = BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListLengthField..]);
        list = [];
        if (listBytes is < ReservationParameters.FixedBytes or > ReservationParameters.ListBytesMax || command.DataOut.Length < listBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        command.TransferLengthWanted = listBytes;
        list = new byte[listBytes];
        command.DataOut.CopyTo(list);
        return true;
    }

    /// <summary>
    /// Changes are made one after the other: decided, stored where they have to be kept, published. Only then they are answered. Tasks of
    /// preempted nexuses are marked within the same turn, so that none of them can come to change reservations afterwards; their ends are
    /// waited for outside, as some of them may be waiting for a turn.
    /// </summary>
    private static async ValueTask ApplyAsync(ItlNexus itl, ScsiCommand command, Rule rule, ReservationRequest request, bool aborts)
    {
        var unit = itl.Unit;
        var ended = Task.CompletedTask;
        var turn = await unit.ReservationLane.EnterAsync();
        try
        {
            if (command.Task.IsAbortRequested)
                return;
            if (unit.IsReserved)
            {
                command.Status = ScsiStatus.ReservationConflict;
                return;
            }

            var draft = new ReservationDraft(unit.Reservations);
            var outcome = rule(draft, request);
            if (outcome != ReservationOutcome.Done)
            {
                Report(command, outcome);
                return;
            }

            switch (await unit.KeepAsync(draft))
            {
                case ReservationKeeping.TooLong:
                    command.Fail(SenseCodes.InsufficientRegistrationResources);
                    return;
                case ReservationKeeping.Failed:
                    command.Fail(SenseCodes.InternalTargetFailure);
                    return;
            }

            unit.Publish(draft);
            if (aborts)
                ended = unit.AbortPreempted(draft.Preempted, command.Task);
        }
        finally
        {
            turn.End();
        }

        await ended;
    }

    private static void Report(ScsiCommand command, ReservationOutcome outcome)
    {
        switch (outcome)
        {
            case ReservationOutcome.Conflict:
                command.Status = ScsiStatus.ReservationConflict;
                break;
            case ReservationOutcome.InvalidRelease:
                command.Fail(SenseCodes.InvalidReleaseOfPersistentReservation);
                break;
            case ReservationOutcome.InvalidType:
                command.FailCdb(TypeField);
                break;
            case ReservationOutcome.InvalidServiceKey:
                command.FailParameter(ReservationParameters.ServiceKeyField);
                break;
            case ReservationOutcome.InvalidTransportId:
                command.FailParameter(ReservationParameters.FirstTransportIdField);
                break;
            case ReservationOutcome.NoResources:
                command.Fail(SenseCodes.InsufficientRegistrationResources);
                break;
            default:
                throw new ArgumentOutOfRangeException(nameof(outcome), outcome, "The change was made, or has no known outcome.");
        }
    }
}
