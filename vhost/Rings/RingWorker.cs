using System.Collections.Concurrent;
using System.Diagnostics;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser.Rings;

/// <summary>
/// The thread of one queue: it alone takes requests from the ring and enters answers into it. Requests that complete on other threads
/// come back to it on a lock-free list.
/// </summary>
/// <remarks>
/// <para>The session changes the ring and its descriptors only between a pause and <see cref="Resume"/>. A held queue leaves everything as
/// it is; a drained one has nothing under way, so that the guest's memory may go.</para>
/// <para>A sleeping thread is woken by the driver's kick, or through an event descriptor of its own.</para>
/// </remarks>
internal sealed unsafe class RingWorker
{
    /// <summary>Requests that are taken before what is done is shown to the driver.</summary>
    private const int BatchMax = 16;

    /// <summary>How often a queue without a kick descriptor is looked at while nothing comes.</summary>
    private const long KicklessSleepNanoseconds = 100_000;

    private const int SpinsBetweenLooks = 10;

    private const int ModeBits = 3;
    private const int ModeMask = (1 << ModeBits) - 1;

    private readonly DeviceQueue queue;
    private readonly Action<RingWorker, string> onBroken;
    private readonly Func<bool> hasLostMemory;
    private readonly Action onMemoryLost;
    private readonly Thread thread;
    private readonly SafeFileHandle wakeEvent = LinuxCall.CreateEvent();
    private readonly ManualResetEventSlim paused = new();
    private readonly ConcurrentQueue<AnswerFence> fences = new();
    private readonly List<AnswerFence> passing = [];
    private readonly Stack<RingRequest> free = new();
    private readonly PollingBudget polling = new();
    private readonly List<RingRequest> active = [];

    /// <summary>What the thread is to do: a <see cref="Mode"/> in the low bits, above it how often that was changed.</summary>
    private volatile int wanted = (int)Mode.Drained;

    /// <summary>The value of <see cref="wanted"/> at which the thread last came to rest. A mode alone would not do: one that came again looks as it did before.</summary>
    private volatile int rested;
    private RingRequest? completed;
    private int isSleeping;
    private bool isReplaying;
    private long idleSince;
    private long faultsSeen = MemoryFaults.Count;
    private bool isLost;

    /// <param name="name">Of the thread.</param>
    /// <param name="queue">What the device does with it.</param>
    /// <param name="onBroken">Told of a ring that its driver broke.</param>
    /// <param name="hasLostMemory">Whether memory that the front end shares is not there any more; asked when some guest's was not.</param>
    /// <param name="onMemoryLost">Told so, once.</param>
    public RingWorker(string name, DeviceQueue queue, Action<RingWorker, string> onBroken, Func<bool> hasLostMemory, Action onMemoryLost)
    {
        this.queue = queue;
        this.onBroken = onBroken;
        this.hasLostMemory = hasLostMemory;
        this.onMemoryLost = onMemoryLost;
        thread = new Thread(Run) { IsBackground = true, Name = name };
        thread.Start();
    }

    private enum Mode
    {
        Running = 1,

        /// <summary>Takes nothing, shows nothing.</summary>
        Held = 2,

        /// <summary>Takes nothing; what was under way has been answered.</summary>
        Drained = 3,
        Ended = 4,
    }

    /// <summary>The ring; null while it is stopped. Changed while paused.</summary>
    public Ring? Ring { get; private set; }

    /// <summary>Requests are taken. Changed while paused.</summary>
    public bool IsEnabled { get; set; }

    public SafeFileHandle? Kick { get; set; }

    public SafeFileHandle? Call { get; set; }

    public SafeFileHandle? Error { get; set; }

    public DeviceQueue Queue => queue;

    /// <summary>Requests under way; for the queue's thread, and while it is paused.</summary>
    public int ActiveCount => active.Count;

    /// <summary>Gives the queue a ring, whose left-over requests come first. While paused.</summary>
    public void SetRing(Ring? ring)
    {
        Ring = ring;
        isReplaying = ring is not null && queue.TakesRequests;
    }

    /// <summary>Asks for a pause in which nothing is under way; <see cref="WaitPaused"/> waits for it.</summary>
    public void BeginDrain() => Change(Mode.Drained);

    /// <summary>Pauses the queue with what it has under way.</summary>
    public void Hold()
    {
        Change(Mode.Held);
        WaitPaused();
    }

    public void Drain()
    {
        BeginDrain();
        WaitPaused();
    }

    public void WaitPaused()
    {
        while (rested != wanted)
        {
            paused.Reset();
            if (rested == wanted)
                return;
            paused.Wait();
        }
    }

    public void Resume() => Change(Mode.Running);

    /// <summary>Ends the thread, which is drained, and closes the queue's descriptors.</summary>
    public void End()
    {
        Change(Mode.Ended);
        thread.Join();
        Kick?.Dispose();
        Call?.Dispose();
        Error?.Dispose();
        wakeEvent.Dispose();
        paused.Dispose();
    }

    /// <summary>Hands back a request that completed on another thread. Allocates nothing.</summary>
    public void OnCompleted(RingRequest request)
    {
        RingRequest? head;
        do
        {
            head = Volatile.Read(ref completed);
            request.NextCompleted = head;
        }
        while (Interlocked.CompareExchange(ref completed, request, head) != head);
        Wake();
    }

    /// <summary>Takes the requests that were handed back, newest first, each linked to the one before.</summary>
    public RingRequest? DetachCompleted() => Interlocked.Exchange(ref completed, null);

    /// <summary>Makes the fence wait for every request here that was aborted and is not answered yet. The caller holds the fence with one count.</summary>
    public void Post(AnswerFence fence)
    {
        fence.Add();
        fences.Enqueue(fence);
        Wake();
    }

    /// <summary>Looks at the queue soon: the device has something to say.</summary>
    public void Wake()
    {
        // Pairs with the exchange in Sleep: either the thread sees what is new, or we see that it sleeps.
        if (Interlocked.Exchange(ref isSleeping, 0) == 0)
            return;
        try
        {
            LinuxCall.Signal(wakeEvent);
        }
        catch (ObjectDisposedException)
        {
            // Something else woke it, it took what was pushed, and it has ended.
        }
    }

    private void Change(Mode mode)
    {
        wanted = (int)((((uint)wanted >> ModeBits) + 1) << ModeBits) | (int)mode;
        Wake();
    }

    private static Mode ModeOf(int wanted) => (Mode)(wanted & ModeMask);

    private void Rest(int asked)
    {
        rested = asked;
        paused.Set();
    }

    private void Run()
    {
        while (true)
        {
            var asked = wanted;
            var mode = ModeOf(asked);
            if (mode == Mode.Ended)
                return;
            var isAtRest = mode == Mode.Held || (mode == Mode.Drained && active.Count == 0);
            var hasWorked = HandleFences();
            if (!isAtRest)
                hasWorked |= Work(mode == Mode.Running);
            else if (rested != asked)
                Rest(asked);
            if (hasWorked)
            {
                idleSince = 0;
                continue;
            }

            if (mode != Mode.Running || !LooksOn())
                Sleep(isAtRest);
        }
    }

    /// <summary>Answers what is done and takes what is new; true where there was anything.</summary>
    private bool Work(bool mayTake)
    {
        var hasWorked = TakeCompleted();
        var ring = Ring;
        if (mayTake && IsEnabled && ring is { Fault: null })
        {
            if (queue.TakesRequests)
                hasWorked |= TakeRequests(ring);
            else if (queue.HasToSpeak(ring))
                hasWorked |= queue.Speak(ring);
        }

        Show();
        return hasWorked;
    }

    private bool TakeRequests(Ring ring)
    {
        for (var taken = 0; taken < BatchMax; taken++)
        {
            var request = free.TryPop(out var pooled) ? pooled : queue.CreateRequest();
            request.Worker = this;
            var result = isReplaying ? ring.TryTakeReplayed(request) : ring.TryTake(request);
            if (result == TakeResult.Empty && isReplaying)
            {
                isReplaying = false;
                result = ring.TryTake(request);
            }

            if (result != TakeResult.Taken)
            {
                free.Push(request);
                if (result == TakeResult.Broken)
                    Break(ring.Fault!);
                return taken > 0;
            }

            if (active.Count >= ring.Size)
            {
                free.Push(request);
                ring.Break("more requests under way than the queue has descriptors");
                Break(ring.Fault!);
                return true;
            }

            request.ActiveIndex = active.Count;
            active.Add(request);
            if (Execute(request))
                Finish(request);
        }

        return true;
    }

    /// <summary>A defect of the device is one guest's broken ring, not the end of all guests' disks.</summary>
    private bool Execute(RingRequest request)
    {
        try
        {
            return request.Execute();
        }
        catch (Exception defect) when (defect is not OutOfMemoryException)
        {
            Ring!.Break($"internal error: {defect.GetType().Name}: {defect.Message}");
            Break(Ring.Fault!);
            request.IsMalformed = true;
            return true;
        }
    }

    private bool TakeCompleted()
    {
        var newest = DetachCompleted();
        if (newest is null)
            return false;
        RingRequest? oldest = null;
        while (newest is not null)
        {
            var next = newest.NextCompleted;
            newest.NextCompleted = oldest;
            oldest = newest;
            newest = next;
        }

        while (oldest is not null)
        {
            var next = oldest.NextCompleted;
            oldest.NextCompleted = null;
            Finish(oldest);
            oldest = next;
        }

        return true;
    }

    private void Finish(RingRequest request)
    {
        if (request.IsMalformed)
            BreakBy(request);
        else
            request.Answer();
        if (Ring is { } ring && !request.IsMalformed && HasMemory())
            ring.PutUsed(request);
        if (request.Fence is { } fence)
            passing.Add(fence);
        request.Fence = null;

        var last = active[^1];
        active[request.ActiveIndex] = last;
        last.ActiveIndex = request.ActiveIndex;
        active.RemoveAt(active.Count - 1);
        free.Push(request);
    }

    /// <summary>
    /// False once memory of this guest's was lost: what was read from it or written to it is nothing, so no answer goes to the guest any more.
    /// </summary>
    private bool HasMemory()
    {
        if (MemoryFaults.Count == faultsSeen)
            return !isLost;
        faultsSeen = MemoryFaults.Count;
        if (isLost || !hasLostMemory())
            return !isLost;
        isLost = true;
        Ring?.Break("the guest's memory is not there any more");
        onMemoryLost();
        return false;
    }

    /// <summary>Shows the driver what was answered, and lets go of functions that waited for it.</summary>
    private void Show()
    {
        if (Ring is { } ring && HasMemory())
        {
            if (ring.Publish() && Call is { } call)
                LinuxCall.Signal(call);
            ring.Layout.Log?.Notify();
        }

        if (passing.Count == 0)
            return;
        foreach (var fence in passing)
            fence.Release();
        passing.Clear();
    }

    private bool HandleFences()
    {
        var hasWorked = false;
        while (fences.TryDequeue(out var fence))
        {
            hasWorked = true;
            foreach (var request in active)
            {
                if (!request.IsAborted)
                    continue;
                if (request.Fence is { } earlier)
                {
                    fence.Follow(earlier);
                }
                else
                {
                    fence.Add();
                    request.Fence = fence;
                }
            }

            fence.Release();
        }

        return hasWorked;
    }

    private void BreakBy(RingRequest request)
    {
        if (Ring is not { Fault: null } ring)
            return;
        ring.Break($"request {request.Id} has no room for its header or its answer");
        Break(ring.Fault!);
    }

    private void Break(string fault)
    {
        onBroken(this, fault);
        if (Error is { } error)
            LinuxCall.Signal(error);
    }

    /// <summary>Whether it still pays to look for the next request instead of sleeping.</summary>
    private bool LooksOn()
    {
        if (polling.Budget == 0)
            return false;
        var now = Stopwatch.GetTimestamp();
        if (idleSince == 0)
            idleSince = now;
        if (Nanoseconds(now - idleSince) >= polling.Budget)
            return false;
        Thread.SpinWait(SpinsBetweenLooks);
        return true;
    }

    private void Sleep(bool isAtRest)
    {
        var ring = isAtRest || !IsEnabled || Ring?.Fault is not null ? null : Ring;
        ring?.EnableNotifications();
        Interlocked.Exchange(ref isSleeping, 1);
        if (HasNews(ring, isAtRest))
        {
            Volatile.Write(ref isSleeping, 0);
            ring?.DisableNotifications();
            return;
        }

        var entries = stackalloc LinuxCall.PollEntry[2];
        entries[0] = new LinuxCall.PollEntry { Descriptor = (int)wakeEvent.DangerousGetHandle(), Events = LinuxCall.PollIn };
        var kick = ring is null ? null : Kick;
        if (kick is not null)
            entries[1] = new LinuxCall.PollEntry { Descriptor = (int)kick.DangerousGetHandle(), Events = LinuxCall.PollIn };
        var before = Stopwatch.GetTimestamp();
        LinuxCall.Poll(entries, kick is null ? 1 : 2, ring is not null && kick is null ? KicklessSleepNanoseconds : -1);
        if (ring is not null)
            polling.OnSlept(Nanoseconds(Stopwatch.GetTimestamp() - before));
        Volatile.Write(ref isSleeping, 0);
        idleSince = 0;
        if (entries[0].Returned != 0)
            LinuxCall.Clear(wakeEvent);
        if (kick is not null && entries[1].Returned != 0)
            LinuxCall.Clear(kick);
        ring?.DisableNotifications();
    }

    private bool HasNews(Ring? ring, bool isAtRest)
    {
        if (!fences.IsEmpty || ModeOf(wanted) == Mode.Ended)
            return true;
        if (isAtRest)
            return rested != wanted;
        var mode = ModeOf(wanted);
        if (mode == Mode.Held || (mode == Mode.Drained && active.Count == 0))
            return true;
        if (Volatile.Read(ref completed) is not null)
            return true;
        return ring is not null && mode == Mode.Running &&
            (queue.TakesRequests ? isReplaying || ring.HasAvailable : queue.HasToSpeak(ring));
    }

    private static long Nanoseconds(long ticks) => ticks * (1_000_000_000 / Stopwatch.Frequency);
}
