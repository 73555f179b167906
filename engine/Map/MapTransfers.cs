using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// Carries out what FASTER asks of its files, for all devices of one map. In a running store each transfer is a work item of the thread
/// pool; in a stepped one (a simulation) it is carried out within the call. A write that fails is tried again until it succeeds: FASTER
/// would note the error and wait for the page for ever. So the map stands still while the file system is full, and goes on when there is
/// space. A read that fails is reported. Nothing that FASTER's callbacks throw leaves this class; it is kept as <see cref="Fault"/>.
/// </summary>
internal sealed unsafe class MapTransfers : IDisposable
{
    /// <summary>How long a write that failed rests: often enough to go on soon after there is space, seldom enough to cost nothing.</summary>
    private const int RetryMilliseconds = 100;

    /// <summary>Reported to FASTER for any failure; it only looks whether it is zero.</summary>
    private const uint Failed = 5;

    private readonly object gate = new();
    private readonly Stack<Transfer> free = [];
    private readonly List<Transfer> failedWrites = [];
    private readonly bool isStepped;
    private readonly Timer? retry;
    private int underWay;
    private int retrying;
    private volatile bool closing;

    public MapTransfers(bool isStepped)
    {
        this.isStepped = isStepped;
        if (!isStepped)
            retry = new Timer(static state => ((MapTransfers)state!).RetryFailedWrites(), this, Timeout.Infinite, Timeout.Infinite);
    }

    /// <summary>The first exception that a callback of FASTER threw, or null.</summary>
    public string? Fault { get; private set; }

    /// <summary>Why the last transfer that failed did.</summary>
    public string? LastError { get; private set; }

    /// <summary>Transfers that ended, well or badly; tells a slow disk from one that never answers.</summary>
    public long Completed { get; private set; }

    /// <summary>Reads that failed so far.</summary>
    public long FailedReads { get; private set; }

    /// <summary>Called with the reason when a read has failed, once the map is in use.</summary>
    public Action<string>? ReadFailed { get; set; }

    /// <summary>True while there is a write that failed and has not succeeded since.</summary>
    public bool IsRetrying
    {
        get
        {
            lock (gate)
                return retrying > 0;
        }
    }

    public void Begin(MapDevice device, bool isWrite, int file, long offset, IntPtr memory, uint length, DeviceIOCompletionCallback callback, object context)
    {
        Transfer? transfer;
        lock (gate)
        {
            if (!free.TryPop(out transfer))
                transfer = new Transfer(this);
            underWay++;
        }

        transfer.Set(device, isWrite, file, offset, memory, length, callback, context);
        if (isStepped)
            transfer.Execute();
        else
            ThreadPool.UnsafeQueueUserWorkItem(transfer, preferLocal: false);
    }

    /// <summary>Tries the writes again that failed; in a stepped store by the simulation's leave, else by the timer.</summary>
    public void RetryFailedWrites()
    {
        Transfer[] again;
        lock (gate)
        {
            if (failedWrites.Count == 0 || closing)
                return;
            again = [.. failedWrites];
            failedWrites.Clear();
        }

        foreach (var transfer in again)
        {
            if (isStepped)
                transfer.Execute();
            else
                ThreadPool.UnsafeQueueUserWorkItem(transfer, preferLocal: false);
        }
    }

    /// <summary>
    /// Ends retries and waits until no transfer is under way; false where one does not end in time. Its memory must then stay where it is.
    /// </summary>
    public bool Close(int millisecondsMax)
    {
        var limit = Environment.TickCount64 + millisecondsMax;
        lock (gate)
        {
            closing = true;
            underWay -= failedWrites.Count;
            failedWrites.Clear();
            while (underWay > 0)
            {
                var left = limit - Environment.TickCount64;
                if (left <= 0 || !Monitor.Wait(gate, (int)left))
                    return underWay == 0;
            }
        }

        return true;
    }

    public void Dispose() => retry?.Dispose();

    private void End(Transfer transfer, FileOutcome outcome, string? error)
    {
        if (outcome != FileOutcome.Success)
        {
            lock (gate)
            {
                LastError = error;
                if (transfer.IsWrite && !closing)
                {
                    failedWrites.Add(transfer);
                    retrying += transfer.HasFailed ? 0 : 1;
                    transfer.HasFailed = true;
                    retry?.Change(RetryMilliseconds, Timeout.Infinite);
                    return;
                }

                FailedReads += transfer.IsWrite ? 0 : 1;
            }
        }

        try
        {
            transfer.CallBack(outcome == FileOutcome.Success ? 0 : Failed);
        }
        catch (Exception failure) when (failure is not OutOfMemoryException)
        {
            // On a thread of the pool it would end the process. The map's owner looks here.
            Fault ??= failure.Message;
        }
        finally
        {
            var (wasWrite, hadFailed) = (transfer.IsWrite, transfer.HasFailed);
            var waiting = transfer.Clear();
            lock (gate)
            {
                Completed++;
                retrying -= hadFailed ? 1 : 0;
                underWay--;
                free.Push(transfer);
                if (closing)
                    Monitor.PulseAll(gate);
            }

            if (outcome != FileOutcome.Success && !wasWrite && !closing)
                ReadFailed?.Invoke(error!);
            waiting?.Wake();
        }
    }

    /// <summary>One read or write; pooled, so that it allocates nothing.</summary>
    private sealed class Transfer(MapTransfers owner) : IThreadPoolWorkItem
    {
        private MapDevice? device;
        private int file;
        private long offset;
        private IntPtr memory;
        private uint length;
        private DeviceIOCompletionCallback? callback;
        private object? context;
        private MapSession? session;

        public bool IsWrite { get; private set; }

        /// <summary>A write that is being tried again.</summary>
        public bool HasFailed { get; set; }

        public void Set(MapDevice of, bool isWrite, int number, long at, IntPtr bytes, uint count, DeviceIOCompletionCallback then, object state)
        {
            (device, IsWrite, file, offset) = (of, isWrite, number, at);
            HasFailed = false;
            (memory, length, callback, context) = (bytes, count, then, state);
            session = MapSession.Issuing;
        }

        public void Execute()
        {
            FileOutcome outcome;
            string? error = "the map is closed";
            try
            {
                outcome = owner.closing ? FileOutcome.Failed : device!.Transfer(IsWrite, file, offset, memory, length, out error);
            }
            catch (Exception failure) when (failure is StoreException or ObjectDisposedException)
            {
                outcome = FileOutcome.Failed;
                error = failure.Message;
            }

            if (outcome != FileOutcome.Success && !IsWrite)
                new Span<byte>((void*)memory, (int)length).Clear();
            owner.End(this, outcome, error);
        }

        /// <summary>Tells FASTER; what it asks for next within the call is for the same session.</summary>
        public void CallBack(uint code)
        {
            var before = MapSession.Issuing;
            MapSession.Issuing = session;
            try
            {
                callback!(code, code == 0 ? length : 0, context!);
            }
            finally
            {
                MapSession.Issuing = before;
            }
        }

        /// <summary>Forgets what it was for; answers the session that may wait for it.</summary>
        public MapSession? Clear()
        {
            var waiting = session;
            (device, callback, context, session) = (null, null, null, null);
            return waiting;
        }
    }
}
