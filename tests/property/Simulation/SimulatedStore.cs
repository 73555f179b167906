using CowScsi.Engine;
using CowScsi.Layers;
using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>
/// A store on the simulated disk and the oracle beside it: each operation is issued to both, and the journal is told how far the history
/// is, before and after.
/// </summary>
internal sealed class SimulatedStore : IDisposable
{
    private readonly NativeBuffer memory;
    private readonly Dictionary<string, BlockDevice> devices = new(StringComparer.Ordinal);
    private readonly List<(Task<BlockResult> Task, int Issued)> flushes = [];

    private SimulatedStore(SimulatedDirectory directory, Oracle oracle, DiskStore store, NativeBuffer memory)
    {
        Directory = directory;
        Oracle = oracle;
        Store = store;
        this.memory = memory;
        Durable = oracle.Issued;
        Proven = oracle.Issued;
        OpenedAt = Mark();
    }

    public static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    public SimulatedDirectory Directory { get; }

    public Oracle Oracle { get; }

    public DiskStore Store { get; }

    /// <summary>Effects that must survive.</summary>
    public int Durable { get; private set; }

    /// <summary>
    /// Effects that something outside the log's last batches shows to have been durable: a checkpoint. Later ones look, where the log's very
    /// end is damaged, like writes that were never flushed.
    /// </summary>
    public int Proven { get; private set; }

    /// <summary>Where the journal stood when the store was open.</summary>
    public int OpenedAt { get; }

    /// <param name="memory">Room for the largest transfer; stays the caller's.</param>
    public static SimulatedStore Create(StoreOptions options, NativeBuffer memory)
    {
        var directory = new SimulatedDirectory(new DiskImage());
        return new SimulatedStore(directory, new Oracle(new ModelStore()), new DiskStore(Engine.Store.Create(directory, options)), memory);
    }

    public static SimulatedStore Open(SimulatedDirectory directory, ModelStore state, StoreOptions options, NativeBuffer memory) =>
        new(directory, new Oracle(state), new DiskStore(Engine.Store.Open(directory, options)), memory);

    /// <summary>
    /// Opens what a crash left of another store, and goes on from the state that is found: one of those after <paramref name="low"/> to
    /// <paramref name="high"/> effects of the other's. Throws <see cref="StoreException"/> where the store refuses.
    /// </summary>
    public static SimulatedStore Recover(SimulatedDirectory directory, Oracle other, int low, int high, StoreOptions options, NativeBuffer memory, out int found)
    {
        var store = new DiskStore(Engine.Store.Open(directory, options));
        try
        {
            directory.Faults.Clear(); // They were for the opening; what it found is looked at without.
            var reading = StoreReading.Of(store, memory, Passphrase);
            found = other.Find(reading, low, high);
            if (found < 0 || !reading.IsWhole)
                throw new XunitException(other.Explain(reading, low, high));
            return new SimulatedStore(directory, new Oracle(other.After(found)), store, memory);
        }
        catch
        {
            store.Store.Crash();
            throw;
        }
    }

    public bool Write(string disk, long offset, ReadOnlySpan<byte> bytes, WriteOptions options = WriteOptions.None)
    {
        var changes = Changes(disk, offset, bytes, bytes.Length);
        var before = Begin((options & WriteOptions.Atomic) != 0 ? [new AtomicEffect(changes)] : changes);
        bytes.CopyTo(memory.Span);
        var isDurable = (options & WriteOptions.ForceUnitAccess) != 0;
        return End(Waiting.For(Device(disk).WriteAsync(offset, memory.Buffer.Slice(0, bytes.Length), options)), before, isDurable);
    }

    public bool Zero(string disk, long offset, long length, bool discard)
    {
        var before = Begin(Changes(disk, offset, [], length));
        return End(Waiting.For(discard ? Device(disk).DiscardAsync(offset, length) : Device(disk).WriteZeroesAsync(offset, length, WriteOptions.None)), before, isDurable: false);
    }

    /// <summary>
    /// Copies from a disk or a snapshot without a base image: that would be moved behind what is referred to, and not in the order of the
    /// blocks.
    /// </summary>
    public bool Copy(string disk, long offset, string source, string? snapshot, long sourceOffset, int length)
    {
        var bytes = new byte[length];
        var from = Oracle.Present.Disks[source];
        (snapshot is null ? from : from.Snapshots.Find(other => other.Name == snapshot)!).Read(sourceOffset, bytes);
        var device = snapshot is null ? Device(source) : Store.OpenSnapshot(source, snapshot, Passphrase);
        var before = Begin(Changes(disk, offset, bytes, length));
        var result = Waiting.For(Device(disk).CopyFromAsync(device, sourceOffset, offset, length));
        if (snapshot is not null)
            Waiting.Close(device);
        return End(new BlockResult(result.Outcome, result.FailedOffsetBytes), before, isDurable: false);
    }

    public bool Flush(string disk) => End(Waiting.For(Device(disk).FlushAsync()), Oracle.Issued, isDurable: true);

    /// <summary>Asks for a flush and goes on; what was issued before becomes durable when it has answered: see <see cref="TakeAnswers"/>.</summary>
    public void BeginFlush(string disk) => flushes.Add((Device(disk).FlushAsync().AsTask(), Oracle.Issued));

    /// <summary>Looks which flushes have answered meanwhile.</summary>
    public void TakeAnswers()
    {
        for (var i = flushes.Count - 1; i >= 0; i--)
        {
            var (task, issued) = flushes[i];
            if (!task.IsCompleted)
                continue;
            flushes.RemoveAt(i);
            if (task.Result.IsSuccess && issued > Durable)
            {
                Durable = issued;
                Mark();
            }
        }
    }

    public bool Checkpoint() => Prove(Change([], Store.Store.Checkpoint));

    public bool CreateDisk(DiskSpec spec, byte[] baseBytes) => Change(
        [new CreateEffect(spec.Name, spec.SizeBytes, spec.LogicalBlockBytes, baseBytes)],
        () => Store.CreateDisk(spec, spec.Encryption == Encryption.None ? default : Passphrase));

    public bool Snapshot(string disk, string name) => Change([new SnapshotEffect(disk, name)], () => Store.CreateSnapshot(disk, name));

    public bool Clone(string disk, string snapshot, string name) => Change([new CloneEffect(disk, snapshot, name)], () => Store.Clone(disk, snapshot, name));

    public bool DeleteSnapshot(string disk, string name) => Change([new DeleteSnapshotEffect(disk, name)], () => Store.DeleteSnapshot(disk, name));

    public bool DeleteDisk(string disk)
    {
        CloseDevice(disk);
        return Change([new DeleteDiskEffect(disk)], () => Store.DeleteDisk(disk));
    }

    /// <summary>Making a disk smaller zeroes what lies behind the end first, block by block.</summary>
    public bool Resize(string disk, long sizeBytes)
    {
        var old = Oracle.Present.Disks[disk].SizeBytes;
        var effects = sizeBytes < old ? Changes(disk, sizeBytes, [], old - sizeBytes) : [];
        return Change([.. effects, new ResizeEffect(disk, sizeBytes)], () => Store.ResizeDisk(disk, sizeBytes, allowShrink: true));
    }

    public bool Close()
    {
        foreach (var disk in devices.Keys.ToArray())
            CloseDevice(disk);
        // A log that has failed is let go as it is; its failure was told when it came.
        return Prove(Change([], () =>
        {
            Waiting.Close(Store);
            if (Store.Store.Log.Failure is { } failure)
                throw new StoreException(StoreError.Io, failure);
        }));
    }

    /// <summary>
    /// After an operation failed: looks how much of it happened, and takes the rest back from the oracle. Faults are over by then.
    /// </summary>
    public void Learn()
    {
        if (FailedFrom is not { } before)
            return;
        var reading = Read();
        var found = Oracle.Find(reading, before, Oracle.Issued);
        // A disk whose growth did not become durable keeps its size until it is opened anew, whatever the catalog of a failed log says.
        if (found < 0 || (!reading.IsWhole && Store.Store.Log.Failure is null))
            throw new XunitException($"after a failed operation: {Oracle.Explain(reading, before, Oracle.Issued)}");
        if (Store.Store.Log.Failure is null)
            Oracle.Withdraw(found);
        FailedFrom = null;
    }

    public StoreReading Read() => StoreReading.Of(Store, memory, Passphrase);

    public void Dispose()
    {
        if (!Store.Store.IsDisposed)
            Store.Store.Crash();
    }

    private BlockDevice Device(string disk)
    {
        if (!devices.TryGetValue(disk, out var device))
            devices.Add(disk, device = Store.OpenDisk(disk, Passphrase));
        return device;
    }

    private void CloseDevice(string disk)
    {
        if (devices.Remove(disk, out var device))
            Waiting.Close(device);
    }

    /// <summary>One effect for each block that a range touches; <paramref name="bytes"/> is empty for zeros.</summary>
    private List<ModelEffect> Changes(string disk, long offset, ReadOnlySpan<byte> bytes, long length)
    {
        var effects = new List<ModelEffect>();
        var model = Oracle.Present.Disks[disk];
        for (long done = 0; done < length;)
        {
            var index = (int)((offset + done) / StoreFormat.BlockBytes);
            var inBlock = (int)((offset + done) % StoreFormat.BlockBytes);
            var part = (int)Math.Min(StoreFormat.BlockBytes - inBlock, length - done);
            var block = new byte[StoreFormat.BlockBytes];
            model.Block(index).CopyTo(block);
            if (bytes.IsEmpty)
                block.AsSpan(inBlock, part).Clear();
            else
                bytes.Slice((int)done, part).CopyTo(block.AsSpan(inBlock));
            effects.Add(new BlockEffect(disk, index, block.AsSpan().ContainsAnyExcept((byte)0) ? block : null));
            done += part;
        }

        return effects;
    }

    private int Begin(List<ModelEffect> effects)
    {
        var before = Oracle.Issued;
        foreach (var effect in effects)
            Oracle.Issue(effect);
        Mark();
        return before;
    }

    private bool End(BlockResult result, int before, bool isDurable)
    {
        LastOutcome = result;
        if (result.IsSuccess && isDurable)
            BecomeDurable();
        else if (!result.IsSuccess)
            Failed(before);
        else
            Mark();
        return result.IsSuccess;
    }

    private bool Change(List<ModelEffect> effects, Action action)
    {
        var before = Begin(effects);
        try
        {
            action();
        }
        catch (StoreException refused)
        {
            LastRefusal = refused;
            Failed(before);
            return false;
        }

        BecomeDurable();
        return true;
    }

    /// <summary>How the last operation that failed did.</summary>
    public BlockResult LastOutcome { get; private set; }

    public StoreException? LastRefusal { get; private set; }

    /// <summary>Where the effects of the last operation that failed begin: some beginning of them may have happened.</summary>
    public int? FailedFrom { get; private set; }

    private void Failed(int before) => FailedFrom ??= before;

    private bool Prove(bool succeeded)
    {
        if (succeeded)
            Proven = Oracle.Issued;
        return succeeded;
    }

    private void BecomeDurable()
    {
        Durable = Oracle.Issued;
        Mark();
    }

    private int Mark() => Directory.Mark(Oracle.Issued, Durable, Store.Store.Log.NextExtentId);
}
