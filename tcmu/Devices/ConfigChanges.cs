using CowScsi.Scsi;
using CowScsi.Tcmu.ConfigFs;
using CowScsi.Tcmu.Native;
using CowScsi.Tcmu.Netlink;

namespace CowScsi.Tcmu.Devices;

/// <summary>
/// What others change of a device in configfs (targetcli does): a new size is the disk's from then on where it can have it, and so is a write
/// cache; a new configuration is not taken, since the next process finds the device by it. What was not taken is put back as it was.
/// </summary>
/// <remarks>
/// Events come on the thread that listens for all devices, and are carried out on another one, in order, the last one of a kind where
/// several wait. The kernel keeps a new value only after it has told of it, so what it has is looked at a moment later; the same look mends
/// what was lost in an overrun.
/// </remarks>
/// <param name="backstore">Whose device it is.</param>
/// <param name="config">What its configuration is to be.</param>
/// <param name="unit">The logical unit.</param>
/// <param name="reply">Tells the kernel how an event was taken: 0, or an error number below it; null where it does not wait.</param>
/// <param name="rescan">Has the machine's own disk look anew.</param>
/// <param name="notice">Takes lines for the operator.</param>
internal sealed class ConfigChanges(
    Backstore backstore, string config, LogicalUnit unit, Action<KernelEvent, int>? reply, Action rescan, Action<string> notice)
{
    private static readonly TimeSpan KernelKeepsAfter = TimeSpan.FromMilliseconds(200);

    private readonly Lock gate = new();
    private readonly Queue<KernelEvent> waiting = new();
    private Task carrying = Task.CompletedTask;
    private bool isCarrying;
    private readonly TaskCompletionSource ending = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private long givenBytes = -1;

    /// <summary>Gives the disk another size; why it cannot have it, or null where it has it now.</summary>
    public Func<long, string?>? SizeRequested { get; set; }

    /// <summary>Whether the kernel told of this size itself: it needs no telling.</summary>
    public bool IsGiven(long sizeBytes) => Volatile.Read(ref givenBytes) == sizeBytes;

    /// <summary>Takes an event of this device; null where events were lost. On the listening thread.</summary>
    public void On(KernelEvent? told)
    {
        lock (gate)
        {
            if (ending.Task.IsCompleted)
                return;
            if (told is not null)
                Enqueue(told);
            if (isCarrying)
                return;
            isCarrying = true;
            carrying = Task.Run(CarryOutAsync);
        }
    }

    /// <summary>Takes no further event; completes once the last one is carried out.</summary>
    public async Task EndAsync()
    {
        Task last;
        lock (gate)
        {
            ending.TrySetResult();
            last = carrying;
        }

        await last;
    }

    /// <summary>Whoever waits for a reply gets one; of the others the last of a kind counts, so what waits here has a bound.</summary>
    private void Enqueue(KernelEvent told)
    {
        if (reply is null)
        {
            for (var i = waiting.Count; i > 0; i--)
            {
                var older = waiting.Dequeue();
                if (!IsSameKind(older, told))
                    waiting.Enqueue(older);
            }
        }

        waiting.Enqueue(told);
    }

    private static bool IsSameKind(KernelEvent one, KernelEvent other) =>
        one.Kind == other.Kind && one.SizeBytes is null == other.SizeBytes is null && one.WriteCache is null == other.WriteCache is null &&
        one.Config is null == other.Config is null;

    private async Task CarryOutAsync()
    {
        while (true)
        {
            while (TryTake(out var told))
            {
                var status = await ApplyAsync(told!);
                reply?.Invoke(told!, status);
            }

            await Task.WhenAny(Task.Delay(KernelKeepsAfter), ending.Task);
            if (!ending.Task.IsCompleted)
                PutBack();
            lock (gate)
            {
                if (waiting.Count > 0)
                    continue;
                isCarrying = false;
                return;
            }
        }
    }

    private bool TryTake(out KernelEvent? told)
    {
        lock (gate)
            return waiting.TryDequeue(out told);
    }

    private async Task<int> ApplyAsync(KernelEvent told)
    {
        if (told.Kind != KernelEventKind.Reconfigured)
            return 0;
        var refusal = told.SizeBytes is { } bytes ? ApplySize((long)Math.Min(bytes, long.MaxValue))
            : told.WriteCache is { } isEnabled ? await ApplyWriteCacheAsync(isEnabled)
            : told.Config is { } other && other.TrimEnd('\n') != config ? "the configuration says whose it is: it stays"
            : null;
        if (refusal is null)
            return 0;
        notice($"{backstore.Name}: what somebody changed in configfs is not taken: {refusal}");
        return -LinuxCalls.EINVAL;
    }

    private string? ApplySize(long bytes)
    {
        if (bytes == unit.Device.Geometry.SizeBytes)
            return null;
        if (SizeRequested is not { } request)
            return $"the disk has {unit.Device.Geometry.SizeBytes} bytes, and this cannot be changed here";
        Volatile.Write(ref givenBytes, bytes);
        return request(bytes);
    }

    private async Task<string?> ApplyWriteCacheAsync(bool isEnabled)
    {
        if (isEnabled == unit.IsWriteCacheEnabled)
            return null;
        if (!await unit.SetWriteCacheAsync(isEnabled))
            return isEnabled ? "the disk has no write cache" : "what the write cache holds could not be made durable";
        rescan();
        return null;
    }

    private void PutBack()
    {
        Volatile.Write(ref givenBytes, -1);
        try
        {
            var bytes = unit.Device.Geometry.SizeBytes;
            if (backstore.SizeBytes is { } kept && kept != bytes)
                backstore.SetSize(bytes);
            if (backstore.Config is { Length: > 0 } said && said != config)
                backstore.SetConfig(config);
        }
        catch (TcmuException error)
        {
            notice($"{backstore.Name}: what somebody changed in configfs stays there: {error.Message}");
        }
    }
}
