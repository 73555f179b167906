using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// Erases the whole medium: FORMAT UNIT and SANITIZE. The logical unit's memory knows of it before a block is touched and until it has
/// succeeded, so one that a restart cut off begins anew, and one that failed stays failed.
/// </summary>
/// <remarks>
/// What is erased is what this disk holds. Nothing is ever overwritten in place in a log: the old blocks are let go, and their space is
/// taken back when their segments are. Snapshots of the disk, its origin and its clones keep what they show, since they are disks of their
/// own. So one pass does what several would; a number of passes matters for the pattern alone, which is inverted from one to the next.
/// A cryptographic erase lets the blocks go as well, since what was stored under a key that is gone reads as an error, and then has the device
/// replace its key.
/// </remarks>
internal sealed class Erasure(LogicalUnit unit, ErasureState state) : MediumOperation(unit, TotalOf(unit, state))
{
    /// <summary>Blocks deallocated or zeroed by one request: a few milliseconds where all of them hold data.</summary>
    private const long ZeroBytes = 64L << 20;

    public ErasureState What { get; } = state;

    public bool IsSanitize => What.Kind != ErasureKind.Format;

    public override SenseCode? Busy => IsSanitize ? SenseCodes.SanitizeInProgress : SenseCodes.FormatInProgress;

    public override SenseCode State => Busy!.Value;

    /// <summary>Valid once it has ended: Success; why it failed; or Closed where it was cut off and goes on later.</summary>
    public BlockResult Result { get; private set; } = BlockResult.Fail(BlockOutcome.Closed);

    protected override async ValueTask WorkAsync(NativeBuffer memory)
    {
        var result = await EraseAsync(memory);
        if (IsStopRequested && result.Outcome is BlockOutcome.Closed or BlockOutcome.Success)
            return;
        if (result.IsSuccess && !await Unit.SaveErasureAsync(null))
            result = BlockResult.Fail(BlockOutcome.WriteFault);
        if (!result.IsSuccess)
            await Unit.FailErasureAsync(What with { Phase = ErasurePhase.Failed });
        Result = result;
    }

    private async ValueTask<BlockResult> EraseAsync(NativeBuffer memory)
    {
        if (What.Kind == ErasureKind.CryptographicErase)
        {
            var erased = await EraseKeyAsync();
            return IsStopRequested && erased.IsSuccess ? BlockResult.Fail(BlockOutcome.Closed) : erased;
        }

        var isZero = !What.Pattern.Span.ContainsAnyExcept((byte)0);
        var result = isZero ? await ZeroAsync() : await FillAsync(memory);
        if (result.IsSuccess && !IsStopRequested)
            result = await Unit.Device.FlushAsync();
        if (result.IsSuccess && !IsStopRequested && What.Kind == ErasureKind.Overwrite)
            result = await VerifyAsync(memory);
        return IsStopRequested && result.IsSuccess ? BlockResult.Fail(BlockOutcome.Closed) : result;
    }

    /// <summary>
    /// What is let go is durably gone before the key is. What somebody else who has the device stored in between is under the destroyed key: it
    /// is let go as well, so that nothing of it is met as an error. Passing over blocks that are free already takes little.
    /// </summary>
    private async ValueTask<BlockResult> EraseKeyAsync()
    {
        var result = await ZeroAsync();
        if (result.IsSuccess && !IsStopRequested)
            result = await Unit.Device.FlushAsync();
        if (result.IsSuccess && !IsStopRequested)
            result = await Unit.Device.EraseKeyAsync();
        if (result.IsSuccess)
            result = await ZeroAsync();
        return result.IsSuccess && !IsStopRequested ? await Unit.Device.FlushAsync() : result;
    }

    /// <summary>Zeros are no data: the blocks are deallocated.</summary>
    private async ValueTask<BlockResult> ZeroAsync()
    {
        for (long offset = 0; offset < Unit.Device.Geometry.SizeBytes && !IsStopRequested;)
        {
            var length = Math.Min(ZeroBytes, Unit.Device.Geometry.SizeBytes - offset);
            var result = await Unit.Device.DiscardAsync(offset, length);
            if (result.Outcome == BlockOutcome.NotSupported)
                result = await Unit.Device.WriteZeroesAsync(offset, length, WriteOptions.None);
            if (!result.IsSuccess && !IsBehindEnd(result, offset))
                return result;
            offset += length;
            await DoneAsync(length);
        }

        return BlockResult.Success;
    }

    private async ValueTask<BlockResult> FillAsync(NativeBuffer memory)
    {
        Fill(memory.Span, What.Pattern.Span, Unit.Device.Geometry.LogicalBlockBytes);
        for (long offset = 0; offset < Unit.Device.Geometry.SizeBytes && !IsStopRequested;)
        {
            var length = Math.Min(PieceBytes, Unit.Device.Geometry.SizeBytes - offset);
            var result = await Unit.Device.WriteAsync(offset, memory.Buffer.Slice(0, length), WriteOptions.None);
            if (!result.IsSuccess && !IsBehindEnd(result, offset))
                return result;
            offset += length;
            await DoneAsync(length);
        }

        return BlockResult.Success;
    }

    /// <summary>Reads all of it back.</summary>
    private async ValueTask<BlockResult> VerifyAsync(NativeBuffer memory)
    {
        using var expected = new NativeBuffer(PieceBytes);
        Fill(expected.Span, What.Pattern.Span, Unit.Device.Geometry.LogicalBlockBytes);
        for (long offset = 0; offset < Unit.Device.Geometry.SizeBytes && !IsStopRequested;)
        {
            var length = Math.Min(PieceBytes, Unit.Device.Geometry.SizeBytes - offset);
            var result = await Unit.Device.ReadAsync(offset, memory.Buffer.Slice(0, length));
            if (!result.IsSuccess && !IsBehindEnd(result, offset))
                return result;
            if (result.IsSuccess && !memory.Span[..(int)length].SequenceEqual(expected.Span[..(int)length]))
                return BlockResult.Fail(BlockOutcome.Unreadable, offset);
            offset += length;
            await DoneAsync(length);
        }

        return BlockResult.Success;
    }

    /// <summary>The disk was made smaller meanwhile: what is gone needs no erasing.</summary>
    private bool IsBehindEnd(BlockResult result, long offsetBytes) =>
        result.Outcome == BlockOutcome.OutOfRange && offsetBytes >= Unit.Device.Geometry.SizeBytes;

    /// <summary>The pattern begins anew in each logical block; its last repetition there may be cut.</summary>
    private static void Fill(Span<byte> memory, ReadOnlySpan<byte> pattern, int blockBytes)
    {
        if (pattern.IsEmpty)
        {
            memory.Clear();
            return;
        }

        for (var at = 0; at < memory.Length; at++)
            memory[at] = pattern[at % blockBytes % pattern.Length];
    }

    private static long TotalOf(LogicalUnit unit, ErasureState state) =>
        unit.Device.Geometry.SizeBytes * (state.Kind is ErasureKind.Overwrite or ErasureKind.CryptographicErase ? 2 : 1);
}
