namespace CowScsi.Scsi;

/// <summary>
/// The copy operations of one I_T nexus with one logical unit, by list identifier: those under way and the held results of those that ended
/// (SPC-4, 5.17.4.2). A result is held until it was told, another copy of the nexus takes its identifier, the logical unit is reset, or
/// <see cref="CopyLimits.HeldResultsMax"/> younger ones have ended. Safe for any number of threads.
/// </summary>
internal sealed class CopyOperations
{
    private readonly Lock gate = new();

    /// <summary>Oldest first.</summary>
    private readonly List<CopyOperation> operations = [];

    /// <summary>Takes a copy in; false where its list identifier is that of one under way.</summary>
    public bool TryBegin(CopyOperation operation)
    {
        lock (gate)
        {
            if (operation.HasListId && Find(operation.ListId) is { } same)
            {
                if (!same.Progress.IsEnded)
                    return false;
                operations.Remove(same);
            }

            operations.Add(operation);
            return true;
        }
    }

    /// <summary>Keeps the result of a copy that has ended, where anybody may ask for it.</summary>
    public void Hold(CopyOperation operation)
    {
        lock (gate)
        {
            var isWanted = operation.HasListId && !(operation.IsForgottenOnSuccess && operation.Progress.State == CopyState.Completed);
            if (!isWanted)
            {
                operations.Remove(operation);
                return;
            }

            operation.IsFailureTold = operation.Sense.Length == 0;
            var ended = 0;
            for (var i = operations.Count - 1; i >= 0; i--)
            {
                if (operations[i].Progress.IsEnded && ++ended > CopyLimits.HeldResultsMax)
                    operations.RemoveAt(i);
            }
        }
    }

    /// <summary>The copy with a list identifier whose status can still be told.</summary>
    public CopyOperation? FindStatus(uint listId)
    {
        lock (gate)
            return Find(listId) is { IsStatusTold: false } found ? found : null;
    }

    /// <summary>The copy with a list identifier that has ended and whose sense data can still be told.</summary>
    public CopyOperation? FindEnded(uint listId)
    {
        lock (gate)
            return Find(listId) is { } found && found.Progress.IsEnded ? found : null;
    }

    /// <summary>Notes that the initiator has been told a result, as a whole, and forgets what it has been told entirely.</summary>
    public void OnTold(CopyOperation operation, bool status, bool failure)
    {
        lock (gate)
        {
            if (!operation.Progress.IsEnded)
                return;
            operation.IsStatusTold |= status;
            operation.IsFailureTold |= failure;
            if (operation.IsStatusTold && operation.IsFailureTold)
                operations.Remove(operation);
        }
    }

    /// <summary>Lets a copy under way end early; false where there is none with this list identifier.</summary>
    public bool TryAbort(uint listId, out CopyOperation? aborted)
    {
        lock (gate)
        {
            aborted = Find(listId);
            if (aborted is null || aborted.Progress.IsEnded)
                return false;
            aborted.RequestAbort();
            return true;
        }
    }

    /// <summary>Lets every copy under way end early and forgets all results: the nexus or the logical unit's state is gone.</summary>
    public void Clear()
    {
        lock (gate)
        {
            foreach (var operation in operations)
                operation.RequestAbort();
            operations.RemoveAll(static operation => operation.Progress.IsEnded);
        }
    }

    private CopyOperation? Find(uint listId)
    {
        foreach (var operation in operations)
        {
            if (operation.HasListId && operation.ListId == listId)
                return operation;
        }

        return null;
    }
}
