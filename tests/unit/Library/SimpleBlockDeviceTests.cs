using System.Collections.Concurrent;
using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;
using Initiator = CowScsi.Tests.Unit.Scsi.Initiator;

namespace CowScsi.Tests.Unit.Library;

/// <summary>What a device of plain methods is given by its base: ranges, memory, FUA, threads, errors.</summary>
public sealed class SimpleBlockDeviceTests
{
    private const int SizeBytes = 4 << 20;

    private static readonly TimeSpan Limit = TimeSpan.FromSeconds(20);

    private static readonly BlockGeometry Plain = BlockGeometry.OfSize(SizeBytes);

    [Theory]
    [InlineData(SimpleBlockDevice.InlineThreads)]
    [InlineData(1)]
    [InlineData(4)]
    public async Task BytesThatWereWritten_AreRead(int threads)
    {
        await using var device = new RamDevice(Plain, threads);
        using var memory = new NativeBuffer(8192);
        memory.Span.Fill(0x5A);
        Assert.True((await device.WriteAsync(4096, memory.Buffer, WriteOptions.None)).IsSuccess);
        Assert.Equal(8192, device.Bytes.AsSpan().Count((byte)0x5A));
        memory.Span.Clear();
        Assert.True((await device.ReadAsync(4096, memory.Buffer)).IsSuccess);
        Assert.Equal(-1, memory.Span.IndexOfAnyExcept((byte)0x5A));
        Assert.True((await device.FlushAsync()).IsSuccess);
        Assert.Equal(1, device.Flushes);
    }

    [Fact]
    public async Task ForcedWrite_IsFlushed()
    {
        await using var device = new RamDevice(Plain, 1);
        using var memory = new NativeBuffer(512);
        Assert.True((await device.WriteAsync(0, memory.Buffer, WriteOptions.ForceUnitAccess)).IsSuccess);
        Assert.Equal(1, device.Flushes);
    }

    [Fact]
    public async Task ScatteredMemory_IsOneCallOfWholeBlocks()
    {
        await using var device = new RamDevice(Plain, 1);
        using var memory = new NativeBuffer(3 << 20);
        new Random(1).NextBytes(memory.Span);
        var all = memory.Buffer.FirstSpan.ToArray();
        var start = Address(memory);
        IoSlice[] slices = [new(start, 100), new(start + 100, (2 << 20) - 100 + 17), new(start + (2 << 20) + 17, (1 << 20) - 17)];
        Assert.True((await device.WriteAsync(512, new IoBuffer(slices, 0, 3), WriteOptions.None)).IsSuccess);
        Assert.True(all.AsSpan().SequenceEqual(device.Bytes.AsSpan(512, all.Length)));
        Assert.Equal([1 << 20, 1 << 20, 1 << 20], device.PieceBytes);

        memory.Span.Clear();
        Assert.True((await device.ReadAsync(512, new IoBuffer(slices, 0, 3))).IsSuccess);
        Assert.True(all.AsSpan().SequenceEqual(memory.Span));
    }

    [Fact]
    public async Task RequestsThatCannotBe_DoNotReachTheMethods()
    {
        await using var device = new RamDevice(Plain with { IsReadOnly = true }, 1);
        using var memory = new NativeBuffer(1024);
        Assert.Equal(BlockOutcome.ReadOnly, (await device.WriteAsync(0, memory.Buffer, WriteOptions.None)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await device.ReadAsync(SizeBytes - 512, memory.Buffer)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await device.ReadAsync(-512, memory.Buffer)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await device.ReadAsync(256, memory.Buffer)).Outcome);
        Assert.Equal(BlockOutcome.OutOfRange, (await device.ReadAsync(long.MaxValue - 511, memory.Buffer)).Outcome);
        await using var writable = new RamDevice(Plain, 1);
        Assert.Equal(BlockOutcome.NotSupported, (await writable.WriteAsync(0, memory.Buffer, WriteOptions.Atomic)).Outcome);
        Assert.Equal(BlockOutcome.NotSupported, (await writable.DiscardAsync(0, 4096)).Outcome);
        Assert.Empty(device.PieceBytes);
        Assert.Empty(writable.PieceBytes);
        await writable.DisposeAsync();
        Assert.Equal(BlockOutcome.Closed, (await writable.ReadAsync(0, memory.Buffer)).Outcome);
    }

    [Fact]
    public async Task Exception_IsAnErrorOfTheRequestAlone_AndIsTold()
    {
        var lines = new ConcurrentQueue<string>();
        await using var device = new RamDevice(Plain, 2) { Log = lines.Enqueue };
        using var memory = new NativeBuffer(512);
        device.Throws = new InvalidOperationException("a bug");
        Assert.Equal(BlockResult.Fail(BlockOutcome.Unreadable, 1024), await device.ReadAsync(1024, memory.Buffer));
        Assert.Equal(BlockResult.Fail(BlockOutcome.WriteFault, 1024), await device.WriteAsync(1024, memory.Buffer, WriteOptions.None));
        Assert.Equal(BlockResult.Fail(BlockOutcome.WriteFault), await device.FlushAsync());
        device.Throws = new IOException("disk full", 28);
        Assert.Equal(BlockOutcome.OutOfSpace, (await device.WriteAsync(0, memory.Buffer, WriteOptions.None)).Outcome);
        device.Throws = null;
        Assert.True((await device.ReadAsync(0, memory.Buffer)).IsSuccess);
        Assert.Equal(4, lines.Count);
        Assert.All(lines, line => Assert.Matches("^(Read|Write|Flush) at byte [0-9]+ failed: (InvalidOperation|IO)Exception: ", line));
    }

    [Fact]
    public async Task FileSystemThatIsFull_IsOutOfSpace()
    {
        // .NET gives ENOSPC as the HResult of its exception; /dev/full says it to every write.
        await using var device = new RamDevice(Plain, 1);
        using var memory = new NativeBuffer(512);
        using var full = File.OpenHandle("/dev/full", FileMode.Open, FileAccess.Write);
        device.Throws = Assert.Throws<IOException>(() => RandomAccess.Write(full, new byte[512], 0));
        Assert.Equal(BlockOutcome.OutOfSpace, (await device.WriteAsync(0, memory.Buffer, WriteOptions.None)).Outcome);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(3)]
    public async Task MethodsThatWait_HoldNobodyUp_AndAreBounded(int threads)
    {
        const int Requests = 16;
        await using var device = new RamDevice(Plain, threads);
        using var memory = new NativeBuffer(512 * Requests);
        device.Gate.Reset();
        var pending = new Task<BlockResult>[Requests];
        for (var i = 0; i < Requests; i++)
            pending[i] = device.ReadAsync(512 * i, memory.Buffer.Slice(512 * i, 512)).AsTask();
        Assert.True(SpinWait.SpinUntil(() => device.MostAtOnce == threads, Limit));
        device.Gate.Set();
        var results = await Task.WhenAll(pending).WaitAsync(Limit);
        Assert.All(results, result => Assert.True(result.IsSuccess));
        Assert.Equal(threads, device.MostAtOnce);
        Assert.NotEqual(Environment.CurrentManagedThreadId, device.ThreadId);
    }

    [Fact]
    public async Task InlineMethods_RunOnTheCallersThread_AndAllocateNothing()
    {
        await using var device = new RamDevice(Plain, SimpleBlockDevice.InlineThreads);
        using var memory = new NativeBuffer(4096);
        device.PieceBytes.EnsureCapacity(4096);
        for (var i = 0; i < 100; i++)
            Assert.True((await device.ReadAsync(0, memory.Buffer)).IsSuccess);
        Assert.Equal(Environment.CurrentManagedThreadId, device.ThreadId);
        var before = GC.GetAllocatedBytesForCurrentThread();
        var hasFailed = false;
        for (var i = 0; i < 1000; i++)
            hasFailed |= !(await device.ReadAsync(0, memory.Buffer)).IsSuccess;
        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
        Assert.False(hasFailed);
    }

    [Fact]
    public async Task LogicalUnit_OverASimpleDevice_DoesWhatInitiatorsExpect()
    {
        await using var device = new RamDevice(Plain with { DiscardGranularityBytes = 4096 }, SimpleBlockDevice.InlineThreads);
        await using var unit = new LogicalUnit(device, LogicalUnitIdentity.FromName("ram"), new LogicalUnitOptions());
        using var initiator = new Initiator(unit);
        initiator.AssertGood("2A 00 00 00 00 08 00 00 08 00", Initiator.Fill(4096, 0xC3));
        initiator.AssertGood("41 00 00 00 00 10 00 00 08 00", Initiator.Fill(512, 0)); // WRITE SAME of zeros: as writes
        initiator.AssertGood("41 00 00 00 00 00 00 00 08 00", Initiator.Fill(512, 0x77));
        Assert.Equal(4096, device.Bytes.AsSpan().Count((byte)0xC3));
        Assert.Equal(4096, device.Bytes.AsSpan().Count((byte)0x77));
        initiator.AssertGood("41 08 00 00 00 00 00 00 08 00", Initiator.Fill(512, 0)); // with UNMAP
        Assert.Equal(4096, device.Discarded);
        device.Throws = new IOException("gone");
        initiator.AssertSense(0x031100, "28 00 00 00 00 05 00 00 01 00");
        initiator.AssertSense(0x030C00, "2A 00 00 00 00 05 00 00 01 00", new byte[512]);
    }

    [Theory]
    [InlineData(0)]
    [InlineData(513)]
    [InlineData(-512)]
    [InlineData(long.MaxValue)]
    public void SizeThatNoDiskHas_IsRefused(long sizeBytes) =>
        Assert.Throws<ArgumentOutOfRangeException>(() => BlockGeometry.OfSize(sizeBytes));

    private static unsafe nint Address(NativeBuffer memory)
    {
        fixed (byte* first = memory.Span)
            return (nint)first;
    }
}
