namespace CowScsi.Scsi;

/// <summary>
/// Long operations on the medium, and what other commands may do meanwhile and after a failed one. (The other parts of the class are
/// LogicalUnit.cs and LogicalUnit.Medium.cs.)
/// </summary>
public sealed partial class LogicalUnit
{
    private volatile MediumOperation? operation;
    private volatile ErasureState? failedErasure;

    /// <summary>The run of the operation that was started last; never faulted but by a broken device.</summary>
    private Task operationRun = Task.CompletedTask;
    private bool isClosing;

    internal MediumOperation? Operation => operation;

    /// <summary>An erasure that failed and was not left since; null where there is none.</summary>
    internal ErasureState? FailedErasure => failedErasure;

    internal SelfTestLog SelfTests { get; } = new();

    /// <summary>Starts an operation; false where another one is under way, or the logical unit closes.</summary>
    internal bool TryStart(MediumOperation wanted)
    {
        lock (gate)
        {
            if (operation is not null || isClosing)
                return false;
            operation = wanted;
            operationRun = wanted.RunAsync();
            return true;
        }
    }

    internal void End(MediumOperation ended)
    {
        lock (gate)
        {
            if (operation == ended)
                operation = null;
        }
    }

    /// <summary>
    /// FORMAT UNIT and SANITIZE. The command runs alone in the task set until here, so no write is under way. It then lets the others in
    /// beside it, which are told of the operation; the operation does not end with it.
    /// </summary>
    internal async ValueTask EraseAsync(ScsiCommand command, ErasureState state, bool isImmediate)
    {
        if (operation is SelfTest test)
        {
            test.RequestStop();
            await test.Ended;
        }

        if (!await SaveErasureAsync(state))
        {
            command.Fail(SenseCodes.InternalTargetFailure);
            return;
        }

        var erasure = new Erasure(this, state);
        if (!TryStart(erasure))
        {
            command.Fail(SenseCodes.NotReadyCauseNotReportable);
            return;
        }

        tasks.EndExclusion(command.Task);
        if (isImmediate)
            return;
        await erasure.WaitAsync(command.Task);
        if (erasure.Ended.IsCompleted && !erasure.Result.IsSuccess)
            command.Fail(CodeOfFailed(state));
    }

    /// <summary>Keeps an erasure across restarts, or forgets it; false where that could not be made durable.</summary>
    internal async ValueTask<bool> SaveErasureAsync(ErasureState? state)
    {
        ReadOnlyMemory<byte>? value = null;
        if (state is not null)
        {
            var bytes = new byte[state.Bytes];
            state.Write(bytes);
            value = bytes;
        }

        if (!await Options.Memory!.SaveAsync(ErasureState.Name, value))
            return false;
        failedErasure = null;
        return true;
    }

    /// <summary>
    /// An erasure failed. Where even that cannot be kept, the memory still says that it is under way, and it begins anew after a restart.
    /// </summary>
    internal async ValueTask FailErasureAsync(ErasureState failed)
    {
        await SaveErasureAsync(failed);
        failedErasure = failed;
    }

    /// <summary>Begins anew what a log page counts; page 00h stands for all.</summary>
    internal void ResetLog(ItlNexus requester, byte code)
    {
        const byte SelfTestPage = 0x10;
        const byte StatisticsPage = 0x19;
        if (code is 0 or StatisticsPage)
            Statistics.Reset();
        if (code is 0 or SelfTestPage)
            SelfTests.Clear();
        lock (gate)
            EstablishForOthers(requester, UnitAttention.LogParametersChanged);
    }

    /// <summary>What REQUEST SENSE answers where nothing else is to be said.</summary>
    internal bool TryGetOperationSense(out SenseCode code, out SenseDetail detail)
    {
        detail = default;
        if (operation is { } running)
        {
            code = running.State;
            detail = SenseDetail.AtProgress(running.Progress);
            return true;
        }

        code = failedErasure is { } failed ? CodeOfFailed(failed) : SenseCodes.NoSense;
        return failedErasure is not null;
    }

    /// <summary>Ends a command that cannot be carried out beside the operation under way, or on a medium whose erasure failed.</summary>
    private bool IsHeldUp(CommandEntry entry, ScsiCommand command)
    {
        if ((entry.Traits & CommandTraits.DuringErasure) != 0)
            return false;
        if (operation is { Busy: { } busy } running)
        {
            command.Fail(busy, SenseDetail.AtProgress(running.Progress));
            return true;
        }

        if (failedErasure is not { } failed)
            return false;

        // A medium whose format failed holds nothing; everything that is not about its blocks goes on.
        var isAllowed = failed.Kind == ErasureKind.Format
            ? (entry.Traits & CommandTraits.AfterFailedFormat) != 0 || (entry.Traits & CommandTraits.Medium) == 0
            : (entry.Traits & CommandTraits.AfterFailedSanitize) != 0;
        if (isAllowed)
            return false;
        command.Fail(CodeOfFailed(failed));
        return true;
    }

    /// <summary>Takes up what the memory says was under way, or had failed, when the logical unit was last there.</summary>
    private void ResumeErasure()
    {
        if (Options.Memory?.Load(ErasureState.Name) is not { } value)
            return;
        var state = ErasureState.Read(value);
        if (state.Phase == ErasurePhase.Failed)
            failedErasure = state;
        else
            TryStart(new Erasure(this, state));
    }

    private async ValueTask EndOperationAsync()
    {
        Task run;
        lock (gate)
        {
            isClosing = true;
            operation?.RequestStop();
            run = operationRun;
        }

        await run;
    }

    private static SenseCode CodeOfFailed(ErasureState state) =>
        state.Kind == ErasureKind.Format ? SenseCodes.FormatCommandFailed : SenseCodes.SanitizeCommandFailed;
}
