using System.Collections.Concurrent;
using System.Net;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Tcmu;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// Disks of a store that this process serves to the kernel. The kernel's devices outlive it: when it ends they wait for the next process,
/// which takes them over. What is attached is kept in the store, so that it comes back after the machine was started anew.
/// </summary>
internal sealed class KernelAttachments : IAsyncDisposable
{
    public const string Loopback = "loopback";
    public const string Vhost = "vhost";
    public const string Iscsi = "iscsi";

    /// <summary>Disks that are brought back at one time.</summary>
    private const int RestoresMax = 8;

    private readonly DiskStore store;
    private readonly UnitMap units;
    private readonly Action<string> notice;
    private readonly ConcurrentDictionary<string, Attachment> attachments = new(StringComparer.Ordinal);

    /// <summary>Held for every change of a disk's attachment; disks do not wait for each other. As many as disks were ever attached.</summary>
    private readonly ConcurrentDictionary<string, SemaphoreSlim> changing = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource emptied = new(TaskCreationOptions.RunContinuationsAsynchronously);
    private volatile bool isEnding;

    /// <param name="store">Whose disks they are.</param>
    /// <param name="units">Its logical units, which targets of the same process offer too.</param>
    /// <param name="notice">Takes lines for the operator, on any thread.</param>
    public KernelAttachments(DiskStore store, UnitMap units, Action<string> notice)
    {
        this.store = store;
        this.units = units;
        this.notice = notice;
    }

    /// <summary>Completes when the last disk has been detached.</summary>
    public Task Emptied => emptied.Task;

    public int Count => attachments.Count;

    /// <summary>
    /// Takes over what an earlier process of this store left in the kernel, then brings back what was attached before the machine was started
    /// anew. What cannot be is told, and the others go on.
    /// </summary>
    public async Task RestoreAsync(CancellationToken cancellation)
    {
        var kept = store.ListDisks().Where(disk => AttachmentRecord.IsThere(store, disk.Id)).ToList();
        if (!Environment.IsPrivilegedProcess)
        {
            if (kept.Count > 0)
                notice($"{kept.Count} disk(s) that were attached to the kernel are not: kernel devices are root's");
            return;
        }

        await AdoptAsync(null, cancellation);
        await Parallel.ForEachAsync(kept, new ParallelOptions { MaxDegreeOfParallelism = RestoresMax, CancellationToken = cancellation }, async (disk, stop) =>
        {
            try
            {
                var record = AttachmentRecord.Find(store, disk.Id, out var error)
                    ?? throw CommandException.Failed($"how it was attached cannot be read: {error}; 'vdisk detach {disk.Name}' forgets it");
                await AttachAsync(disk.Name, record.ToRequest(), null, stop);
            }
            catch (Exception error) when (error is CommandException or StoreException)
            {
                notice($"disk '{disk.Name}' was attached to the kernel and is not: {error.Message}");
            }
        });
    }

    /// <summary>Takes over what an earlier process of this store left in the kernel: all of it, or one disk.</summary>
    public async Task AdoptAsync(string? only, CancellationToken cancellation)
    {
        foreach (var left in TcmuDevices.List())
        {
            var isReadOnly = left.Owner.StartsWith(OwnerOf("", isReadOnly: true), StringComparison.Ordinal);
            if (!isReadOnly && !left.Owner.StartsWith(OwnerOf("", isReadOnly: false), StringComparison.Ordinal))
                continue;
            var disk = left.Owner[OwnerOf("", isReadOnly).Length..];
            if (only is not null && only != disk)
                continue;
            using (await TurnAsync(disk, cancellation))
            {
                try
                {
                    var info = store.GetDisk(disk);
                    var isReplied = AttachmentRecord.Find(store, info.Id, out _) is { NetlinkReplies: true };
                    Enter(disk, Open(info, isReadOnly, isRestored: true, TcmuOptions.Default with { AwaitsReplies = isReplied }, passphrase: null));
                }
                catch (Exception error) when (error is StoreException or TcmuException or CommandException)
                {
                    notice($"the kernel's device of disk '{disk}' is not served: {error.Message}");
                }
            }
        }
    }

    /// <summary>
    /// Attaches a disk, and keeps that in the store unless it is to be temporary; one that is attached by the same fabric already is told
    /// where it is.
    /// </summary>
    public async Task<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation)
    {
        if (request.Fabric is not (Loopback or Vhost or Iscsi))
            throw CommandException.Usage($"'{request.Fabric}' is no fabric; there are {Loopback}, {Vhost} and {Iscsi}");
        var options = OptionsOf(request);
        var portal = await PortalOf(request).ResolveAsync(cancellation);
        using (await TurnAsync(disk, cancellation))
        {
            try
            {
                var info = store.GetDisk(disk);
                if (attachments.TryGetValue(disk, out var present))
                    RequireSame(present, disk, request);
                var attachment = present ?? Open(info, request.ReadOnly, isRestored: false, options, passphrase);
                try
                {
                    var document = await GiveAsync(attachment, disk, request, portal, cancellation);
                    AttachmentRecord.Keep(store, info.Id, request.Temporary ? null : AttachmentRecord.Of(request));
                    if (present is null)
                        Enter(disk, attachment);
                    return document;
                }
                catch when (present is null)
                {
                    await attachment.Kernel.RemoveAsync();
                    await units.DetachAsync(attachment.Unit);
                    throw;
                }
            }
            catch (TcmuException error)
            {
                throw Explain(error);
            }
        }
    }

    /// <summary>
    /// Takes a disk from the kernel, and forgets that it was attached. One that is in use there is refused unless it is to be torn out.
    /// </summary>
    public async Task DetachAsync(string disk, bool force, CancellationToken cancellation)
    {
        using (await TurnAsync(disk, cancellation))
        {
            var info = store.GetDisk(disk);
            if (!attachments.TryGetValue(disk, out var attachment))
            {
                if (!AttachmentRecord.IsThere(store, info.Id))
                    throw new CommandException(ExitCode.NotFound, $"disk '{disk}' is not attached");
                AttachmentRecord.Keep(store, info.Id, null);
                return;
            }

            try
            {
                if (!force && attachment.Kernel.IsClaimed())
                    throw new CommandException(ExitCode.InUse, $"{attachment.Kernel.FindDisk()} is in use (mounted, or part of a volume): unmount it first, or give --force");
                await attachment.Kernel.RemoveAsync();
            }
            catch (TcmuException error)
            {
                throw Explain(error);
            }

            await LeaveAsync(disk, attachment);
            AttachmentRecord.Keep(store, info.Id, null);
        }
    }

    /// <summary>Refuses what must not be done to a disk that the kernel has.</summary>
    public void RefuseWhileAttached(string disk)
    {
        if (attachments.TryGetValue(disk, out var attachment))
            throw new CommandException(ExitCode.InUse, $"disk '{disk}' is attached to the kernel as {attachment.Kernel.FindDisk() ?? attachment.Kernel.Name}: detach it first");
    }

    public async ValueTask DisposeAsync()
    {
        isEnding = true;
        var count = 0;
        foreach (var disk in attachments.Keys)
        {
            using (await TurnAsync(disk, CancellationToken.None))
            {
                if (!attachments.TryRemove(disk, out var attachment))
                    continue;
                count++;
                await attachment.Kernel.DisposeAsync();
                await units.DetachAsync(attachment.Unit);
            }
        }

        if (count > 0)
            notice($"{count} disk(s) stay attached and wait for the next server; vdisk doctor --remove takes them away");
    }

    internal static CommandException Explain(TcmuException error) => new(
        error.Error switch
        {
            TcmuError.InUse => ExitCode.InUse,
            TcmuError.NotFound => ExitCode.NotFound,
            _ => ExitCode.Failed,
        },
        error.Message,
        error);

    private static void RequireSame(Attachment present, string disk, AttachRequest request)
    {
        if (present.IsReadOnly != request.ReadOnly)
            throw new CommandException(ExitCode.InUse, $"disk '{disk}' is attached {(present.IsReadOnly ? "read-only" : "writable")}: detach it first");
        // Reservations of the one initiator that a fabric shows would be those of the other fabric's too.
        if (present.Kernel.Fabric is { } fabric && fabric != request.Fabric)
            throw new CommandException(ExitCode.InUse, $"disk '{disk}' is attached by the fabric {fabric}, and can have one at a time: detach it first");
    }

    private static TcmuOptions OptionsOf(AttachRequest request)
    {
        try
        {
            var options = new TcmuOptions
            {
                RingMebibytes = request.RingMebibytes,
                DataAreaMebibytes = request.DataMebibytes,
                TransferBytesMax = request.TransferBytes,
                CommandTimeoutSeconds = request.TimeoutSeconds,
                AwaitsReplies = request.NetlinkReplies,
                KernelReserves = request.Fabric == Iscsi,
            };
            options.Check();
            return options;
        }
        catch (ArgumentException error)
        {
            throw CommandException.Usage($"the kernel takes a ring of 1 to 8 MiB, a data area of 1 MiB or more, and transfers of whole pages that fit in it: {error.Message}");
        }
    }

    private static Portal PortalOf(AttachRequest request)
    {
        if (request.Portal is null)
            return Portal.Default;
        return Portal.TryParse(request.Portal, out var portal, out var problem) ? portal : throw CommandException.Usage(problem);
    }

    private static async Task<AttachmentDocument> GiveAsync(
        Attachment attachment, string disk, AttachRequest request, IPEndPoint portal, CancellationToken cancellation)
    {
        switch (request.Fabric)
        {
            case Loopback:
                return new AttachmentDocument(disk, Loopback, await attachment.Kernel.AttachLoopbackAsync(cancellation), null, null);
            case Vhost:
                var (wwn, arguments) = attachment.Kernel.AttachVhost();
                return new AttachmentDocument(disk, Vhost, null, wwn, arguments);
            default:
                return new AttachmentDocument(disk, Iscsi, null, attachment.Kernel.AttachIscsi(portal, request.Initiators), null);
        }
    }

    /// <summary>What the kernel keeps of a device for the process that takes it over: the store's id, how it is presented, and the disk's name.</summary>
    private string OwnerOf(string disk, bool isReadOnly) => $"{store.Id:N}/{(isReadOnly ? "ro" : "rw")}/{disk}";

    private async ValueTask<Turn> TurnAsync(string disk, CancellationToken cancellation)
    {
        var turn = changing.GetOrAdd(disk, static _ => new SemaphoreSlim(1, 1));
        await turn.WaitAsync(cancellation);
        return new Turn(turn);
    }

    private Attachment Open(DiskInfo disk, bool isReadOnly, bool isRestored, TcmuOptions options, Passphrase? passphrase)
    {
        var unit = units.Attach(disk, isReadOnly, isRestored, passphrase);
        try
        {
            var kernel = TcmuDevice.Open(disk.Id.ToString("N"), OwnerOf(disk.Name, isReadOnly), unit.Unit, options, notice);
            kernel.SizeRequested = bytes => Resize(disk.Name, bytes);
            return new Attachment(unit, kernel, isReadOnly);
        }
        catch
        {
            // Nothing of the kernel's is under way on it: this completes at once.
            units.DetachAsync(unit).AsTask().GetAwaiter().GetResult();
            throw;
        }
    }

    /// <summary>Somebody gave the kernel's device another size; why the disk cannot have it, or null where it has it now.</summary>
    private string? Resize(string disk, long bytes)
    {
        try
        {
            store.ResizeDisk(disk, bytes, allowShrink: false);
            return null;
        }
        catch (StoreException error)
        {
            return error.Message;
        }
    }

    private void Enter(string disk, Attachment attachment)
    {
        attachments[disk] = attachment;
        _ = WatchAsync(disk, attachment);
    }

    private async Task LeaveAsync(string disk, Attachment attachment)
    {
        attachments.TryRemove(disk, out _);
        await units.DetachAsync(attachment.Unit);
        if (attachments.IsEmpty)
            emptied.TrySetResult();
    }

    /// <summary>A device that is served no more, though nobody here ended that: somebody removed it in configfs, or it failed.</summary>
    private async Task WatchAsync(string disk, Attachment attachment)
    {
        await attachment.Kernel.Ended;
        if (isEnding)
            return;
        using (await TurnAsync(disk, CancellationToken.None))
        {
            if (isEnding || !attachments.TryGetValue(disk, out var present) || present != attachment)
                return;
            await attachment.Kernel.DisposeAsync();
            await LeaveAsync(disk, attachment);
            notice($"the kernel's device of disk '{disk}' is gone; 'vdisk attach {disk}' brings it back, and so does the next server; 'vdisk detach {disk}' forgets it");
        }
    }

    private sealed record Attachment(ServedUnit Unit, TcmuDevice Kernel, bool IsReadOnly);

    private readonly struct Turn(SemaphoreSlim turn) : IDisposable
    {
        public void Dispose() => turn.Release();
    }
}
