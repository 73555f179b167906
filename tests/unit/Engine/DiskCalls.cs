using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Whole blocks of one byte value, written and read back.</summary>
internal static class DiskCalls
{
    public static async Task FillAsync(this BlockDevice disk, long offset, int length, byte value)
    {
        using var buffer = new NativeBuffer(length);
        buffer.Span.Fill(value);
        Assert.Equal(BlockResult.Success, await disk.WriteAsync(offset, buffer.Buffer, WriteOptions.None));
    }

    public static async Task<BlockResult> TryFillAsync(this BlockDevice disk, long offset, int length, byte value)
    {
        using var buffer = new NativeBuffer(length);
        buffer.Span.Fill(value);
        return await disk.WriteAsync(offset, buffer.Buffer, WriteOptions.None);
    }

    public static async Task AssertFilledAsync(this BlockDevice disk, long offset, int length, byte value)
    {
        using var buffer = new NativeBuffer(length);
        buffer.Span.Fill((byte)(value ^ 0xFF));
        Assert.Equal(BlockResult.Success, await disk.ReadAsync(offset, buffer.Buffer));
        var first = buffer.Span.IndexOfAnyExcept(value);
        Assert.True(first < 0, $"byte {offset + first} is {(first < 0 ? 0 : buffer.Span[first])} instead of {value}");
    }

    public static async Task FlushedAsync(this BlockDevice disk) => Assert.Equal(BlockResult.Success, await disk.FlushAsync());

    public static async Task<BlockResult> ReadOutcomeAsync(this BlockDevice disk, long offset, int length)
    {
        using var buffer = new NativeBuffer(length);
        return await disk.ReadAsync(offset, buffer.Buffer);
    }
}
