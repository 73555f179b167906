using FASTER.core;

namespace CowScsi.Engine;

/// <summary>What the index calls back: plain copies of records, and the answer of a read that had to wait for the disk.</summary>
internal sealed class MapFunctions : FunctionsBase<MapKey, MapRecord, MapRecord, MapRecord, Empty>
{
    public MapRecord Answer;
    public Status AnswerStatus;

    public override bool SingleReader(ref MapKey key, ref MapRecord input, ref MapRecord value, ref MapRecord dst, ref ReadInfo readInfo)
    {
        dst = value;
        return true;
    }

    public override bool ConcurrentReader(ref MapKey key, ref MapRecord input, ref MapRecord value, ref MapRecord dst, ref ReadInfo readInfo)
    {
        dst = value;
        return true;
    }

    public override bool SingleWriter(ref MapKey key, ref MapRecord input, ref MapRecord src, ref MapRecord dst, ref MapRecord output, ref UpsertInfo upsertInfo, WriteReason reason)
    {
        dst = src;
        return true;
    }

    public override bool ConcurrentWriter(ref MapKey key, ref MapRecord input, ref MapRecord src, ref MapRecord dst, ref MapRecord output, ref UpsertInfo upsertInfo)
    {
        dst = src;
        return true;
    }

    public override void ReadCompletionCallback(ref MapKey key, ref MapRecord input, ref MapRecord output, Empty ctx, Status status, RecordMetadata recordMetadata)
    {
        Answer = output;
        AnswerStatus = status;
    }
}

/// <summary>How a look-up in the index ended.</summary>
internal enum MapOutcome : byte
{
    Found = 1,
    NotFound = 2,

    /// <summary>The record is on disk; the session holds the read that fetches it.</summary>
    OnDisk = 3,

    /// <summary>The record could not be read or failed its check.</summary>
    Damaged = 4,
}

/// <summary>One thread's access to the index at a time; pooled.</summary>
internal sealed class MapSession(ClientSession<MapKey, MapRecord, MapRecord, MapRecord, Empty, MapFunctions> session, MapFunctions functions, uint mapTag, int readMillisecondsMax, bool isStepped)
{
    /// <summary>The session whose read the thread is issuing, so that the end of the transfer can wake it.</summary>
    [ThreadStatic]
    private static MapSession? issuing;

    private readonly ManualResetEventSlim transferEnded = new();
    private MapRecord unused;
    private MapRecord record;

    public static MapSession? Issuing
    {
        get => issuing;
        set => issuing = value;
    }

    /// <summary>True while a read is under way whose answer nobody has taken.</summary>
    public bool IsWaiting { get; private set; }

    public MapOutcome TryRead(LayerId layer, PageNumber page, out MapPage found)
    {
        var key = new MapKey(layer, page);
        issuing = this;
        var status = session.Read(ref key, ref unused, ref record, Empty.Default, 0);
        issuing = null;
        if (status.IsPending)
        {
            IsWaiting = true;
            found = default;
            return isStepped ? WaitForRead(layer, page, out found) : MapOutcome.OnDisk; // There the transfer has ended already.
        }

        return Answer(status, key, in record, out found);
    }

    /// <summary>
    /// Waits for the read that <see cref="TryRead"/> left under way. One that does not end in time counts as damaged, and stays with the
    /// session.
    /// </summary>
    public MapOutcome WaitForRead(LayerId layer, PageNumber page, out MapPage found)
    {
        while (true)
        {
            transferEnded.Reset();
            if (TryTakeAnswer())
                return Answer(functions.AnswerStatus, new MapKey(layer, page), in functions.Answer, out found);
            if (transferEnded.Wait(readMillisecondsMax))
                continue;
            found = default;
            return MapOutcome.Damaged;
        }
    }

    /// <summary>Takes the answer of a read whose asker went away; false while it is still under way.</summary>
    public bool TryTakeAnswer()
    {
        issuing = this; // Taking an answer may lead to the next read of a chain.
        var isComplete = session.CompletePending(wait: false);
        issuing = null;
        IsWaiting = !isComplete;
        return isComplete;
    }

    /// <summary>A transfer that this session asked for has ended.</summary>
    public void Wake() => transferEnded.Set();

    public void Write(LayerId layer, PageNumber page, in MapPage value)
    {
        var key = new MapKey(layer, page);
        record.Page = value;
        record.Check = MapRecord.ComputeCheck(in value, key.Value, mapTag);
        session.Upsert(ref key, ref record, Empty.Default, 0);
    }

    public void Delete(LayerId layer, PageNumber page)
    {
        var key = new MapKey(layer, page);
        session.Delete(ref key, Empty.Default, 0);
    }

    /// <summary>Moves FASTER's state machine on, as each of its operations does.</summary>
    public void Refresh()
    {
        var context = session.UnsafeContext;
        context.BeginUnsafe();
        try
        {
            context.Refresh();
        }
        finally
        {
            context.EndUnsafe();
        }
    }

    /// <summary>Lets the session go; not while a read is under way, which FASTER would wait for without end.</summary>
    public void Dispose()
    {
        if (!IsWaiting)
            session.Dispose();
    }

    private MapOutcome Answer(Status status, MapKey key, in MapRecord answer, out MapPage found)
    {
        found = default;
        if (status.NotFound)
            return MapOutcome.NotFound;
        if (!status.Found || answer.Check != MapRecord.ComputeCheck(in answer.Page, key.Value, mapTag))
            return MapOutcome.Damaged;
        found = answer.Page;
        return MapOutcome.Found;
    }
}
