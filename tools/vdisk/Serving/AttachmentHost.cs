using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Vdisk.Control;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// A process that has a store open for the kernel alone: its control socket, no iSCSI portal. `vdisk attach` starts one where no server
/// runs; it ends with its last attachment.
/// </summary>
internal static class AttachmentHost
{
    /// <summary>How long it waits for a first attachment before it gives up.</summary>
    private static readonly TimeSpan IdleLimit = TimeSpan.FromMinutes(2);

    public static async Task RunAsync(string storeDirectory, StoreOptions options, Action<string> notice, CancellationToken stop)
    {
        var store = DiskStore.Open(storeDirectory, options with { Notice = notice });
        var attachments = new KernelAttachments(store, new UnitMap(store, new LogicalUnitOptions()), notice);
        await using var session = new LocalSession(store, new StoredTargets(store)) { Attachments = attachments };
        await using (attachments)
        {
            await attachments.RestoreAsync(stop);
            var socket = ControlSocket.Listen(storeDirectory);
            ControlServer control;
            try
            {
                control = await ControlServer.StartAsync(socket, session, notice);
            }
            catch
            {
                socket.Dispose();
                throw;
            }

            await using (control)
                await Task.WhenAny(attachments.Emptied, Task.Delay(Timeout.Infinite, stop), IdleAsync(attachments, stop));
        }
    }

    private static async Task IdleAsync(KernelAttachments attachments, CancellationToken stop)
    {
        do
            await Task.Delay(IdleLimit, stop).ConfigureAwait(ConfigureAwaitOptions.SuppressThrowing);
        while (!stop.IsCancellationRequested && attachments.Count > 0);
    }
}
