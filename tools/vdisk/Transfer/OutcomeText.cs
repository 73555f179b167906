using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Vdisk.Transfer;

/// <summary>What a block request's failure means to the person who copies a disk.</summary>
internal static class OutcomeText
{
    public static StoreException ToException(BlockResult result, string verb, string disk, long offsetBytes)
    {
        var at = result.FailedOffsetBytes >= 0 ? result.FailedOffsetBytes : offsetBytes;
        return result.Outcome switch
        {
            BlockOutcome.OutOfSpace => new StoreException(
                StoreError.OutOfSpace, $"no space is left under the store to {verb} '{disk}' at byte {at}; free some and try again"),
            BlockOutcome.Unreadable => new StoreException(
                StoreError.Corrupt, $"cannot {verb} '{disk}' at byte {at}: stored data is damaged or its base image cannot be read"),
            BlockOutcome.KeyNotLoaded => new StoreException(StoreError.Key, $"cannot {verb} '{disk}': its key is not loaded"),
            BlockOutcome.Closed => new StoreException(StoreError.Io, $"cannot {verb} '{disk}': the store is closing"),
            BlockOutcome.ReadOnly => new StoreException(StoreError.Invalid, $"cannot {verb} '{disk}': it is read-only"),
            BlockOutcome.OutOfRange => new StoreException(StoreError.Invalid, $"cannot {verb} '{disk}' at byte {at}: it ends before that"),
            _ => new StoreException(StoreError.Io, $"cannot {verb} '{disk}' at byte {at}: {result.Outcome}"),
        };
    }
}
