using System.Collections.Concurrent;
using CowScsi.Iscsi.Connections;
using CowScsi.Layers;

namespace CowScsi.Iscsi.Sockets;

/// <summary>
/// One thread that owns connections: it alone reads, writes and changes them, so nothing in them is locked. Others reach it in two
/// ways: <see cref="Post"/> for rare events, and <see cref="OnTaskCompleted"/> for commands that completed on a thread of the device.
/// All connections of one session live on one loop.
/// </summary>
/// <remarks>
/// A loop serves any number of connections with level-triggered epoll. What a connection needs only while it is active (the receive
/// buffer, send buffers, data buffers, command objects) belongs to the loop, so an idle connection costs a descriptor and a few
/// hundred bytes.
/// </remarks>
internal sealed unsafe class EventLoop
{
    /// <summary>One receive call takes up to this much: two MaxBurstLength of small commands, or two large Data-Out PDUs.</summary>
    public const int ReceiveBytes = 256 * 1024;

    private const int EventsMax = 64;
    private const int TickMilliseconds = 500;
    private const int FreeTasksMax = 1024;

    private readonly int epoll = LinuxSocket.CreateEpoll();
    private readonly int wakeEvent = LinuxSocket.CreateEvent();
    private readonly Thread thread;
    private readonly ConcurrentQueue<Action> posted = new();
    private readonly Stack<IscsiTask> freeTasks = new();
    private readonly List<EventSource?> sources = [];
    private readonly Stack<int> freeSlots = new();
    private readonly List<EventSource> touched = [];
    private readonly Action<Exception> onFault;
    private readonly TaskCompletionSource ended = new(TaskCreationOptions.RunContinuationsAsynchronously);

    private IscsiTask? completedTasks;
    private int isSleeping;
    private int wakers;
    private int sourceCount;
    private int sessionCount;
    private long nextTick;
    private bool isStopping;

    public EventLoop(string name, long dataBytesMax, Action<Exception> onFault)
    {
        this.onFault = onFault;
        Buffers = new DataBufferPool(dataBytesMax);
        ReceiveBuffer = new NativeBuffer(ReceiveBytes);
        thread = new Thread(Run) { IsBackground = true, Name = name };
        LinuxSocket.AddInterest(epoll, wakeEvent, LinuxSocket.EventIn, ulong.MaxValue);
    }

    public DataBufferPool Buffers { get; }

    public NativeBuffer ReceiveBuffer { get; }

    /// <summary>Sessions placed here; read by other threads that look for the least busy loop.</summary>
    public int SessionCount => Volatile.Read(ref sessionCount);

    public bool IsOnThread => Thread.CurrentThread == thread;

    public void Start() => thread.Start();

    public void CountSession(int change) => Interlocked.Add(ref sessionCount, change);

    /// <summary>Runs an action on the loop's thread, soon. From any thread.</summary>
    public void Post(Action action)
    {
        posted.Enqueue(action);
        Wake();
    }

    /// <summary>Hands a command back that its device completed. From any thread; allocates nothing.</summary>
    public void OnTaskCompleted(IscsiTask task)
    {
        IscsiTask? head;
        do
        {
            head = Volatile.Read(ref completedTasks);
            task.NextCompleted = head;
        }
        while (Interlocked.CompareExchange(ref completedTasks, task, head) != head);
        Wake();
    }

    /// <summary>Ends the loop once everything posted before has run. Sources are gone by then.</summary>
    public Task StopAsync()
    {
        Post(() => isStopping = true);
        return ended.Task;
    }

    public void Add(EventSource source)
    {
        if (!freeSlots.TryPop(out var slot))
        {
            slot = sources.Count;
            sources.Add(null);
        }

        sources[slot] = source;
        source.Slot = slot;
        source.Loop = this;
        sourceCount++;
        LinuxSocket.AddInterest(epoll, source.Descriptor, LinuxSocket.EventIn, (ulong)slot);
    }

    public void SetInterest(EventSource source, bool wantsInput, bool wantsOutput) =>
        LinuxSocket.ChangeInterest(
            epoll,
            source.Descriptor,
            (wantsInput ? LinuxSocket.EventIn : 0) | (wantsOutput ? LinuxSocket.EventOut : 0),
            (ulong)source.Slot);

    /// <summary>Stops watching. The slot is used again only after the present batch of events, which may still name it.</summary>
    public void Remove(EventSource source)
    {
        LinuxSocket.RemoveInterest(epoll, source.Descriptor);
        var slot = source.Slot;
        sources[slot] = null;
        source.Slot = -1;
        sourceCount--;
        posted.Enqueue(() => freeSlots.Push(slot));
    }

    /// <summary>Notes that <see cref="EventSource.OnCompletionsDelivered"/> is due for a source.</summary>
    public void Touch(EventSource source)
    {
        if (touched.Count == 0 || touched[^1] != source)
            touched.Add(source);
    }

    public IscsiTask RentTask() => freeTasks.TryPop(out var task) ? task : new IscsiTask();

    public void ReturnTask(IscsiTask task)
    {
        if (freeTasks.Count < FreeTasksMax)
            freeTasks.Push(task);
    }

    private void Wake()
    {
        // Pairs with the exchange in WaitForEvents: either the loop sees what was queued, or we see that it sleeps. One that ends waits for
        // those who are about to wake it, as they use its descriptor.
        Interlocked.Increment(ref wakers);
        try
        {
            if (Interlocked.Exchange(ref isSleeping, 0) == 1)
                LinuxSocket.SignalEvent(wakeEvent);
        }
        finally
        {
            Interlocked.Decrement(ref wakers);
        }
    }

    private void Run()
    {
        try
        {
            var events = stackalloc byte[EventsMax * 16];
            while (!isStopping)
            {
                var count = WaitForEvents(events);
                for (var i = 0; i < count; i++)
                    Dispatch(LinuxSocket.ReadEvent(events, i));
                DeliverCompletions();
                RunPosted();
                DeliverTouched();
                Tick();
            }
        }
        catch (IOException fault)
        {
            // Without epoll or its wake event the loop cannot go on; the server reports it and its connections time out.
            onFault(fault);
        }
        finally
        {
            foreach (var source in sources)
                source?.Abandon();
            Interlocked.Exchange(ref isSleeping, 0);
            SpinWait.SpinUntil(() => Volatile.Read(ref wakers) == 0);
            LinuxSocket.Close(epoll);
            LinuxSocket.Close(wakeEvent);
            ReceiveBuffer.Dispose();
            Buffers.Dispose();
            ended.TrySetResult();
        }
    }

    private int WaitForEvents(byte* events)
    {
        var timeout = sourceCount == 0 ? -1 : (int)Math.Clamp(nextTick - Environment.TickCount64, 0, TickMilliseconds);
        Interlocked.Exchange(ref isSleeping, 1);
        if (Volatile.Read(ref completedTasks) is not null || !posted.IsEmpty || touched.Count > 0)
            timeout = 0;
        var count = LinuxSocket.Wait(epoll, events, EventsMax, timeout);
        Volatile.Write(ref isSleeping, 0);
        return count;
    }

    private void Dispatch((uint Events, ulong Data) ready)
    {
        if (ready.Data == ulong.MaxValue)
        {
            LinuxSocket.ClearEvent(wakeEvent);
            return;
        }

        if (sources[(int)ready.Data] is not { } source)
            return;
        try
        {
            source.OnReady(ready.Events);
        }
        catch (Exception fault) when (fault is not OutOfMemoryException)
        {
            Fault(source, fault);
        }
    }

    private void DeliverCompletions()
    {
        var newest = Interlocked.Exchange(ref completedTasks, null);
        IscsiTask? oldest = null;
        while (newest is not null)
        {
            var next = newest.NextCompleted;
            newest.NextCompleted = oldest;
            oldest = newest;
            newest = next;
        }

        while (oldest is not null)
        {
            var task = oldest;
            oldest = task.NextCompleted;
            task.NextCompleted = null;
            var source = task.Connection;
            try
            {
                source.OnTaskCompleted(task);
                Touch(source);
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                Fault(source, fault);
            }
        }
    }

    private void RunPosted()
    {
        // Only what is there now: an action that posts again does not keep the sockets waiting.
        for (var left = posted.Count; left > 0 && posted.TryDequeue(out var action); left--)
        {
            try
            {
                action();
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                onFault(fault);
            }
        }
    }

    private void DeliverTouched()
    {
        for (var i = 0; i < touched.Count; i++)
        {
            try
            {
                touched[i].OnCompletionsDelivered();
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                Fault(touched[i], fault);
            }
        }

        touched.Clear();
    }

    private void Tick()
    {
        var now = Environment.TickCount64;
        if (now < nextTick)
            return;
        nextTick = now + TickMilliseconds;
        for (var slot = 0; slot < sources.Count; slot++)
        {
            if (sources[slot] is not { } source)
                continue;
            try
            {
                source.OnTick(now);
            }
            catch (Exception fault) when (fault is not OutOfMemoryException)
            {
                Fault(source, fault);
            }
        }
    }

    private void Fault(EventSource source, Exception fault)
    {
        onFault(fault);
        source.OnFault(fault);
    }
}
