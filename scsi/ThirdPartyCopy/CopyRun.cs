namespace CowScsi.Scsi;

/// <summary>
/// Carries out one copy operation: for the command that began it, or after that has been answered. However it ends, the operation has a
/// result, and the place it had is free again.
/// </summary>
internal abstract class CopyRun
{
    /// <summary>
    /// Takes a place for an operation; where there is none, or its list identifier is in use, ends the command and answers false. Who begins
    /// one also ends it.
    /// </summary>
    public static bool TryBegin(ItlNexus itl, ScsiCommand command, CopyOperation operation)
    {
        var domain = itl.Nexus.Target.Copies;
        if (!domain.TryBegin())
        {
            command.Status = ScsiStatus.TaskSetFull;
            return false;
        }

        if (itl.Copies.TryBegin(operation))
            return true;
        domain.End();
        command.Fail(SenseCodes.OperationInProgress);
        return false;
    }

    /// <summary>Ends an operation with what its command ended with; its place is free again.</summary>
    public static void End(ItlNexus itl, CopyOperation operation, ScsiCommand report)
    {
        operation.End(report.Status, report.Sense);
        itl.Copies.Hold(operation);
        itl.Nexus.Target.Copies.End();
    }

    /// <summary>Carries out an operation that was begun. A background one is answered at once, with GOOD.</summary>
    public ValueTask Start(ItlNexus itl, ScsiCommand command, CopyOperation operation)
    {
        if (!operation.IsBackground)
            return RunForAsync(itl, operation, command, command);

        // The command's object is the transport's again once it is answered: the operation has one of its own to report in.
        var report = new ScsiCommand { UsesDescriptorSense = command.UsesDescriptorSense };
        operation.Work = RunInBackgroundAsync(itl, operation, report);
        return default;
    }

    /// <summary>Does the work; answers what went wrong, or null.</summary>
    /// <param name="owner">The task of the command that waits for it; null in the background.</param>
    protected abstract ValueTask<CopyFault?> RunAsync(ScsiTask? owner);

    /// <summary>States in the command what went wrong.</summary>
    protected virtual void Report(ScsiCommand command, CopyFault fault) => command.Fail(fault);

    private async Task RunInBackgroundAsync(ItlNexus itl, CopyOperation operation, ScsiCommand report)
    {
        await Task.Yield();
        await RunForAsync(itl, operation, report, null);
    }

    private async ValueTask RunForAsync(ItlNexus itl, CopyOperation operation, ScsiCommand report, ScsiCommand? waiting)
    {
        var hasRun = false;
        try
        {
            if (await RunAsync(waiting?.Task) is { } fault)
                Report(report, fault);
            hasRun = true;
        }
        finally
        {
            if (!hasRun)
                report.Fail(SenseCodes.InternalTargetFailure);
            if (waiting is { Task.IsAbortRequested: true })
                operation.RequestAbort();
            End(itl, operation, report);
        }
    }
}
