using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>
/// Reads whose caller has other work (<see cref="ReadOptions.Offload"/>): long ones run on another thread, and are the same reads. No other test
/// runs meanwhile, since what other threads ask for decides too.
/// </summary>
[Collection(nameof(OffloadedReadTests))]
[CollectionDefinition(nameof(OffloadedReadTests), DisableParallelization = true)]
public sealed class OffloadedReadTests : IDisposable
{
    private const int DiskBytes = 2 << 20;
    private const int LongBytes = 128 << 10;
    private const int Rounds = 2000;

    private readonly StoreFolder folder = new();
    private readonly ManualResetEventSlim released = new(initialState: true);
    private Action<FileOperation> script = static _ => { };

    /// <summary>With one processor there is nobody to hand a read to.</summary>
    private static bool HasHelpers => Environment.ProcessorCount > 1;

    /// <summary>Until those who asked before count no more.</summary>
    private static Task OthersForgottenAsync() => Task.Delay(100);

    public void Dispose()
    {
        released.Set();
        folder.Dispose();
        released.Dispose();
    }

    [Theory]
    [InlineData(LongBytes, ReadOptions.Offload, true)]
    [InlineData(LongBytes, ReadOptions.None, false)]
    [InlineData(4096, ReadOptions.Offload, false)]
    public async Task ALongRead_RunsOnAnotherThread_WhereItsCallerHasOtherWork(int length, ReadOptions options, bool isElsewhere)
    {
        await using var store = await OpenAsync();
        await using var disk = store.OpenDisk("a", default);
        using var buffer = new NativeBuffer(length);
        var caller = 0;
        var readers = new HashSet<int>();
        script = operation =>
        {
            if (operation.Verb == FileVerb.Read && operation.Name.StartsWith("segments/", StringComparison.Ordinal))
                readers.Add(Environment.CurrentManagedThreadId);
        };
        await OthersForgottenAsync();
        caller = Environment.CurrentManagedThreadId;
        var read = disk.ReadAsync(4096, buffer.Buffer, options);
        var spin = default(SpinWait);
        while (!read.IsCompleted)
            spin.SpinOnce();
        Assert.Equal(BlockResult.Success, await read);
        Assert.Equal(-1, buffer.Span.IndexOfAnyExcept((byte)0x5A));
        Assert.Equal(isElsewhere && HasHelpers, caller != Assert.Single(readers));
    }

    [Fact]
    public async Task ClosingADisk_WaitsForThem()
    {
        await using var store = await OpenAsync();
        var disk = store.OpenDisk("a", default);
        using var buffer = new NativeBuffer(LongBytes);
        using var arrived = new ManualResetEventSlim();
        if (!HasHelpers)
            return;
        script = operation =>
        {
            if (operation.Verb != FileVerb.Read || !operation.Name.StartsWith("segments/", StringComparison.Ordinal))
                return;
            arrived.Set();
            Assert.True(released.Wait(30_000));
        };
        released.Reset();
        await OthersForgottenAsync();
        var reads = new List<Task<BlockResult>>();
        for (var i = 0; i < 8; i++)
            reads.Add(disk.ReadAsync(0, buffer.Buffer, ReadOptions.Offload).AsTask());
        arrived.Wait();
        var closing = Task.Run(async () => await disk.DisposeAsync());
        await Task.Delay(100);
        Assert.False(closing.IsCompleted);
        released.Set();
        await closing;
        Assert.All(await Task.WhenAll(reads), static result => Assert.Equal(BlockResult.Success, result));
    }

    [Fact]
    public async Task InSteadyState_TheirCallerAllocatesNothing()
    {
        await using var store = await OpenAsync();
        await using var disk = store.OpenDisk("a", default);
        using var buffer = new NativeBuffer(LongBytes);
        ReadMany(disk, buffer);
        var before = GC.GetAllocatedBytesForCurrentThread();
        ReadMany(disk, buffer);
        Assert.InRange(GC.GetAllocatedBytesForCurrentThread() - before, 0, Rounds - 1);
    }

    private static void ReadMany(BlockDevice disk, NativeBuffer buffer)
    {
        for (var i = 0; i < Rounds; i++)
        {
            var request = disk.ReadAsync(i % 8 * LongBytes, buffer.Buffer, ReadOptions.Offload);
            var spin = default(SpinWait);
            while (!request.IsCompleted)
                spin.SpinOnce();
            Assert.True(request.GetAwaiter().GetResult().IsSuccess);
        }
    }

    private async Task<DiskStore> OpenAsync()
    {
        Directory.CreateDirectory(folder.Path);
        var directory = new ScriptedDirectory(folder.Path, operation =>
        {
            script(operation);
            return true;
        });
        var store = new DiskStore(Store.Create(directory, folder.Options));
        store.CreateDisk(new DiskSpec { Name = "a", SizeBytes = DiskBytes }, default);
        await using var disk = store.OpenDisk("a", default);
        await disk.FillAsync(0, DiskBytes, 0x5A);
        await disk.FlushedAsync();
        return store;
    }
}
