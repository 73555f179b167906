using FASTER.core;

namespace CowScsi.Engine;

/// <summary>
/// FASTER's file, with one difference: a write that fails is tried again until it succeeds. FASTER itself would note the error and wait
/// for ever for the page; so the index stands still while the file system is full, and goes on when there is space.
/// </summary>
internal sealed class PatientDevice : StorageDeviceBase
{
    private const int RetryMilliseconds = 100;

    private readonly IDevice inner;
    private readonly CancellationTokenSource closing = new();

    public PatientDevice(IDevice inner)
        : base(inner.FileName, inner.SectorSize, inner.Capacity) => this.inner = inner;

    public override void Initialize(long segmentSize, LightEpoch epoch = null!, bool omitSegmentIdFromFileName = false)
    {
        base.Initialize(segmentSize, epoch, omitSegmentIdFromFileName);
        inner.Initialize(segmentSize, epoch, omitSegmentIdFromFileName);
    }

    public override bool Throttle() => inner.Throttle();

    public override bool TryComplete() => inner.TryComplete();

    public override long GetFileSize(int segment) => inner.GetFileSize(segment);

    public override void Reset() => inner.Reset();

    public override void ReadAsync(int segmentId, ulong sourceAddress, IntPtr destinationAddress, uint readLength, DeviceIOCompletionCallback callback, object context) =>
        inner.ReadAsync(segmentId, sourceAddress, destinationAddress, readLength, callback, context);

    public override void WriteAsync(IntPtr sourceAddress, int segmentId, ulong destinationAddress, uint numBytesToWrite, DeviceIOCompletionCallback callback, object context) =>
        inner.WriteAsync(sourceAddress, segmentId, destinationAddress, numBytesToWrite, (code, bytes, state) =>
        {
            if (code == 0 || closing.IsCancellationRequested)
            {
                callback(code, bytes, state);
                return;
            }

            // Nobody waits for the retry itself: it ends in the callback.
            _ = RetryAsync(sourceAddress, segmentId, destinationAddress, numBytesToWrite, callback, context);
        }, context);

    public override void RemoveSegmentAsync(int segment, AsyncCallback callback, IAsyncResult result) => inner.RemoveSegmentAsync(segment, callback, result);

    public override void Dispose()
    {
        closing.Cancel();
        inner.Dispose();
    }

    private async Task RetryAsync(IntPtr sourceAddress, int segmentId, ulong destinationAddress, uint numBytesToWrite, DeviceIOCompletionCallback callback, object context)
    {
        await Task.Delay(RetryMilliseconds, CancellationToken.None);
        WriteAsync(sourceAddress, segmentId, destinationAddress, numBytesToWrite, callback, context);
    }
}
