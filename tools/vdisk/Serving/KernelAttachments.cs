using System.Collections.Concurrent;
using System.Net;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// Disks of a store that this process serves to the kernel. The kernel's devices outlive it: when it ends they wait for the next process,
/// which takes them over.
/// </summary>
internal sealed class KernelAttachments : IAsyncDisposable
{
    public const string Loopback = "loopback";
    public const string Vhost = "vhost";
    public const string Iscsi = "iscsi";

    private readonly DiskStore store;
    private readonly Action<string> notice;

    /// <summary>Held for every change.</summary>
    private readonly SemaphoreSlim changing = new(1, 1);
    private readonly ConcurrentDictionary<string, Attachment> attachments = new(StringComparer.Ordinal);
    private readonly TaskCompletionSource emptied = new(TaskCreationOptions.RunContinuationsAsynchronously);

    public KernelAttachments(DiskStore store, Action<string> notice)
    {
        this.store = store;
        this.notice = notice;
    }

    /// <summary>Completes when the last disk has been detached.</summary>
    public Task Emptied => emptied.Task;

    public int Count => attachments.Count;

    /// <summary>What the kernel keeps of a device for the process that takes it over: the store's id, how it is presented, and the disk's name.</summary>
    private string OwnerOf(string disk, bool isReadOnly) => $"{store.Id:N}/{(isReadOnly ? "ro" : "rw")}/{disk}";

    /// <summary>Takes over what an earlier process of this store left in the kernel. What cannot be is told, and left for `vdisk doctor`.</summary>
    public async Task AdoptAsync(CancellationToken cancellation)
    {
        if (!Environment.IsPrivilegedProcess)
            return;
        foreach (var left in TcmuDevices.List())
        {
            var isReadOnly = left.Owner.StartsWith(OwnerOf("", isReadOnly: true), StringComparison.Ordinal);
            if (!isReadOnly && !left.Owner.StartsWith(OwnerOf("", isReadOnly: false), StringComparison.Ordinal))
                continue;
            var disk = left.Owner[OwnerOf("", isReadOnly).Length..];
            await changing.WaitAsync(cancellation);
            try
            {
                attachments[disk] = Open(store.GetDisk(disk), isReadOnly, TcmuOptions.Default, passphrase: null);
            }
            catch (Exception error) when (error is StoreException or TcmuException)
            {
                notice($"the kernel's device of disk '{disk}' is not served: {error.Message}");
            }
            finally
            {
                changing.Release();
            }
        }
    }

    /// <summary>Attaches a disk; one that is attached by the same fabric already is told where it is.</summary>
    public async Task<AttachmentDocument> AttachAsync(string disk, AttachRequest request, Passphrase? passphrase, CancellationToken cancellation)
    {
        if (request.Fabric is not (Loopback or Vhost or Iscsi))
            throw CommandException.Usage($"'{request.Fabric}' is no fabric; there are {Loopback}, {Vhost} and {Iscsi}");
        var options = OptionsOf(request);
        var portal = await PortalOf(request).ResolveAsync(cancellation);
        await changing.WaitAsync(cancellation);
        try
        {
            var isNew = !attachments.TryGetValue(disk, out var attachment);
            attachment ??= Open(store.GetDisk(disk), request.ReadOnly, options, passphrase);
            try
            {
                var document = await GiveAsync(attachment, disk, request, portal, cancellation);
                attachments[disk] = attachment;
                return document;
            }
            catch when (isNew)
            {
                await attachment.Kernel.RemoveAsync();
                await CloseAsync(attachment);
                throw;
            }
        }
        catch (TcmuException error)
        {
            throw Explain(error);
        }
        finally
        {
            changing.Release();
        }
    }

    /// <summary>Takes a disk from the kernel. One that is in use there is refused unless it is to be torn out.</summary>
    public async Task DetachAsync(string disk, bool force, CancellationToken cancellation)
    {
        await changing.WaitAsync(cancellation);
        try
        {
            if (!attachments.TryGetValue(disk, out var attachment))
                throw new CommandException(ExitCode.NotFound, $"disk '{disk}' is not attached");
            if (!force && attachment.Kernel.IsClaimed())
                throw new CommandException(ExitCode.InUse, $"{attachment.Kernel.FindDisk()} is in use (mounted, or part of a volume): unmount it first, or give --force");
            await attachment.Kernel.RemoveAsync();
            attachments.TryRemove(disk, out _);
            await CloseAsync(attachment);
            if (attachments.IsEmpty)
                emptied.TrySetResult();
        }
        catch (TcmuException error)
        {
            throw Explain(error);
        }
        finally
        {
            changing.Release();
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
        await changing.WaitAsync();
        foreach (var attachment in attachments.Values)
        {
            await attachment.Kernel.DisposeAsync();
            await CloseAsync(attachment);
        }

        if (attachments.Count > 0)
            notice($"{attachments.Count} disk(s) stay attached and wait for the next server; vdisk doctor --remove takes them away");
        attachments.Clear();
        changing.Dispose();
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

    private Attachment Open(DiskInfo disk, bool isReadOnly, TcmuOptions options, Passphrase? passphrase)
    {
        var device = store.OpenDisk(disk.Name, passphrase is null ? default : passphrase.Bytes);
        var unit = new LogicalUnit(device, LogicalUnitIdentity.FromDisk(disk.Id, disk.Name), new LogicalUnitOptions { IsReadOnly = isReadOnly });
        try
        {
            var kernel = TcmuDevice.Open(disk.Id.ToString("N"), OwnerOf(disk.Name, isReadOnly), unit, options, notice);
            return new Attachment(device, unit, kernel);
        }
        catch
        {
            // Nothing is under way on it: the handle closes at once.
            device.DisposeAsync().AsTask().GetAwaiter().GetResult();
            throw;
        }
    }

    private static async Task CloseAsync(Attachment attachment)
    {
        await attachment.Unit.CloseAsync();
        await attachment.Device.DisposeAsync();
    }

    private sealed record Attachment(BlockDevice Device, LogicalUnit Unit, TcmuDevice Kernel);
}
