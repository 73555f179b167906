using System.Runtime.CompilerServices;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Sessions;

/// <summary>
/// A store that this process has open: a command's own, or the server's, whose control socket hands its requests here. May be used by any
/// number of requests at once.
/// </summary>
internal sealed partial class LocalSession : IStoreSession
{
    /// <summary>Size of a disk that an import fills without knowing how much will come; it doubles from there.</summary>
    private const long UnknownSizeStartBytes = 1L << 30;

    private readonly DiskStore store;
    private readonly IServedDisks served;

    /// <param name="store">Disposed of with the session.</param>
    /// <param name="served">What initiators can reach; <see cref="StoredTargets"/> in a process that is no server.</param>
    public LocalSession(DiskStore store, IServedDisks served)
    {
        this.store = store;
        this.served = served;
    }

    public ValueTask<StoreDocument> GetStoreAsync(CancellationToken cancellation) => new(store.GetInfo().ToDocument(served.IsServer));

    public ValueTask<IReadOnlyList<DiskDocument>> ListDisksAsync(CancellationToken cancellation) =>
        new([.. store.ListDisks().OrderBy(disk => disk.Created).ThenBy(disk => disk.Name, StringComparer.Ordinal).Select(Describe)]);

    public ValueTask<DiskDocument> GetDiskAsync(string disk, CancellationToken cancellation) => new(Describe(Named(disk, store.GetDisk)));

    public ValueTask<DiskDocument> CreateDiskAsync(DiskRequest request, Passphrase? passphrase, CancellationToken cancellation)
    {
        var info = CreateDisk(request.ToSpec(), passphrase);
        return new(DescribeNew(info, passphrase));
    }

    public async ValueTask DeleteDiskAsync(string disk, CancellationToken cancellation)
    {
        _ = Named(disk, store.GetDisk);
        Attachments?.RefuseWhileAttached(disk);
        await served.WithdrawAsync(disk, () => store.DeleteDisk(disk));
    }

    public ValueTask<DiskDocument> ResizeDiskAsync(string disk, long sizeBytes, bool allowShrink, CancellationToken cancellation) =>
        new(Describe(Named(disk, name => store.ResizeDisk(name, sizeBytes, allowShrink))));

    public ValueTask<SnapshotDocument> CreateSnapshotAsync(string disk, string snapshot, CancellationToken cancellation) =>
        new(Named(disk, name => store.CreateSnapshot(name, snapshot)).ToDocument());

    public ValueTask DeleteSnapshotAsync(string disk, string snapshot, CancellationToken cancellation)
    {
        Named(disk, name => WithSnapshot(name, snapshot, () =>
        {
            store.DeleteSnapshot(name, snapshot);
            return true;
        }));
        return ValueTask.CompletedTask;
    }

    public ValueTask<DiskDocument> CloneAsync(
        string disk, string snapshot, string name, Passphrase? passphrase, CancellationToken cancellation)
    {
        var info = Named(disk, origin => WithSnapshot(origin, snapshot, () => store.Clone(origin, snapshot, name)));
        return new(DescribeNew(info, passphrase));
    }

    public async IAsyncEnumerable<DiffRunDocument> DiffAsync(
        string disk, string older, string? newer, [EnumeratorCancellation] CancellationToken cancellation)
    {
        var runs = Named(disk, name => WithSnapshot(name, older, () => newer is null
            ? store.Diff(name, older, null)
            : WithSnapshot(name, newer, () => store.Diff(name, older, newer))));
        foreach (var run in runs)
        {
            cancellation.ThrowIfCancellationRequested();
            yield return new DiffRunDocument(run.OffsetBytes, run.LengthBytes, run.IsZero);
        }

        await ValueTask.CompletedTask;
    }

    public async ValueTask<CheckDocument> CheckAsync(IProgress<double>? progress, CancellationToken cancellation) =>
        (await Task.Run(() => store.Check(progress, cancellation), cancellation)).ToDocument();

    public async ValueTask<DiskDocument> ImportAsync(
        DiskRequest request, Passphrase? passphrase, IImportSource source, CancellationToken cancellation)
    {
        var spec = request.ToSpec();
        var startBytes = Math.Max(spec.SizeBytes, source.SizeBytes is { } known ? RoundUp(known) : UnknownSizeStartBytes);
        if (startBytes == 0)
            throw CommandException.Failed("there is nothing to import: the source is empty");
        // The disk is not announced to initiators before it is complete; where anything goes wrong it is deleted again, by the next opening
        // if this process dies.
        RequirePassphrase(spec, passphrase);
        store.BeginImport(spec with { SizeBytes = startBytes }, passphrase is null ? default : passphrase.Bytes);
        try
        {
            var sizeBytes = await FillAsync(spec.Name, startBytes, passphrase, source, cancellation);
            var wanted = Math.Max(spec.SizeBytes, RoundUp(sizeBytes));
            if (wanted == 0)
                throw CommandException.Failed("there is nothing to import: the source is empty");
            if (store.GetDisk(spec.Name).SizeBytes != wanted)
                store.ResizeDisk(spec.Name, wanted, allowShrink: true);
            store.CompleteImport(spec.Name);
        }
        catch (Exception cause)
        {
            Undo(spec.Name, cause);
            throw;
        }

        return DescribeNew(store.GetDisk(spec.Name), passphrase);
    }

    public async ValueTask ExportAsync(DiskAddress from, Passphrase? passphrase, IExportSink sink, CancellationToken cancellation)
    {
        var key = passphrase is null ? default : passphrase.Bytes;
        var device = from.Snapshot is null ? OpenDisk(from.Disk, key) : OpenSnapshot(from.Disk, from.Snapshot, key);
        await using (device)
            await DiskDrain.RunAsync(device, from.ToString(), sink, cancellation);
    }

    public ValueTask DisposeAsync() => store.DisposeAsync();

    private static long RoundUp(long bytes) => (bytes + ZeroScan.BlockBytes - 1) / ZeroScan.BlockBytes * ZeroScan.BlockBytes;

    private DiskDocument Describe(DiskInfo info) => info.ToDocument(served.UrlOf(info.Name));

    private DiskDocument DescribeNew(DiskInfo info, Passphrase? passphrase)
    {
        var notServed = served.Announce(info, passphrase);
        return store.GetDisk(info.Name).ToDocument(served.UrlOf(info.Name), notServed);
    }

    private DiskInfo CreateDisk(DiskSpec spec, Passphrase? passphrase)
    {
        RequirePassphrase(spec, passphrase);
        return store.CreateDisk(spec, passphrase is null ? default : passphrase.Bytes);
    }

    private static void RequirePassphrase(DiskSpec spec, Passphrase? passphrase)
    {
        if (spec.Encryption != Encryption.None && passphrase is null)
            throw new CommandException(ExitCode.Key, $"disk '{spec.Name}' is to be encrypted and needs a passphrase");
    }

    private async Task<long> FillAsync(
        string name, long startBytes, Passphrase? passphrase, IImportSource source, CancellationToken cancellation)
    {
        var device = OpenDisk(name, passphrase is null ? default : passphrase.Bytes);
        await using (device)
        {
            var sizeBytes = startBytes;
            var fill = new DiskFill(device, name, neededBytes =>
            {
                while (sizeBytes < neededBytes)
                {
                    sizeBytes = checked(sizeBytes * 2);
                    store.ResizeDisk(name, sizeBytes, allowShrink: false);
                }

                return ValueTask.CompletedTask;
            });
            return await fill.RunAsync(source, cancellation);
        }
    }

    private void Undo(string name, Exception cause)
    {
        try
        {
            store.DeleteDisk(name);
        }
        catch (StoreException error)
        {
            var reason = cause is OperationCanceledException ? "the import was interrupted" : cause.Message;
            throw new CommandException(
                ExitCode.Failed, $"{reason}; the incomplete disk '{name}' could not be deleted and is of no use: {error.Message}", cause);
        }
    }

    private BlockDevice OpenDisk(string disk, ReadOnlySpan<byte> key)
    {
        try
        {
            return store.OpenDisk(disk, key);
        }
        catch (StoreException error) when (error.Error == StoreError.NotFound)
        {
            throw WithSuggestion(disk, error);
        }
    }

    private BlockDevice OpenSnapshot(string disk, string snapshot, ReadOnlySpan<byte> key)
    {
        var info = Named(disk, store.GetDisk);
        try
        {
            return store.OpenSnapshot(disk, snapshot, key);
        }
        catch (StoreException error) when (error.Error == StoreError.NotFound)
        {
            throw WithSuggestion(info, snapshot, error);
        }
    }

    /// <summary>Asks the store about a disk; where there is none of that name, the message says which may have been meant.</summary>
    private T Named<T>(string disk, Func<string, T> ask)
    {
        try
        {
            return ask(disk);
        }
        catch (StoreException error) when (error.Error == StoreError.NotFound)
        {
            throw WithSuggestion(disk, error);
        }
    }

    private T WithSnapshot<T>(string disk, string snapshot, Func<T> ask)
    {
        var info = store.GetDisk(disk);
        try
        {
            return ask();
        }
        catch (StoreException error) when (error.Error == StoreError.NotFound)
        {
            throw WithSuggestion(info, snapshot, error);
        }
    }

    private CommandException WithSuggestion(string disk, StoreException error)
    {
        var near = Suggestion.Nearest(disk, store.ListDisks().Select(known => known.Name));
        return new CommandException(ExitCode.NotFound, near is null || near == disk ? error.Message : $"{error.Message}; did you mean '{near}'?", error);
    }

    private static CommandException WithSuggestion(DiskInfo disk, string snapshot, StoreException error)
    {
        var near = Suggestion.Nearest(snapshot, disk.Snapshots.Select(known => known.Name));
        return new CommandException(
            ExitCode.NotFound, near is null || near == snapshot ? error.Message : $"{error.Message}; did you mean '{disk.Name}@{near}'?", error);
    }
}
