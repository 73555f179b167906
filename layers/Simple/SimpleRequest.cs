using System.Threading.Tasks.Sources;

namespace CowScsi.Layers;

/// <summary>Which method of a <see cref="SimpleBlockDevice"/> a request is for.</summary>
internal enum SimpleOperation : byte
{
    Read = 1,
    Write = 2,
    Flush = 3,
    Discard = 4,
}

/// <summary>
/// A request on its way through the threads of a <see cref="SimpleBlockDevice"/>: reused. It belongs to its awaiter until the result is
/// taken, which gives it back.
/// </summary>
internal sealed class SimpleRequest(SimpleBlockDevice device) : IThreadPoolWorkItem, IValueTaskSource<BlockResult>
{
    private ManualResetValueTaskSourceCore<BlockResult> completion;
    private SimpleOperation operation;
    private long offsetBytes;
    private long lengthBytes;
    private IoBuffer memory;
    private WriteOptions options;

    public ValueTask<BlockResult> Start(
        WorkerThreads threads, SimpleOperation wanted, long offset, long length, IoBuffer given, WriteOptions writeOptions)
    {
        operation = wanted;
        offsetBytes = offset;
        lengthBytes = length;
        memory = given;
        options = writeOptions;
        completion.Reset();
        var version = completion.Version;
        threads.Queue(this);
        return new ValueTask<BlockResult>(this, version);
    }

    void IThreadPoolWorkItem.Execute() => completion.SetResult(device.Perform(operation, offsetBytes, lengthBytes, memory, options));

    BlockResult IValueTaskSource<BlockResult>.GetResult(short token)
    {
        var result = completion.GetResult(token);
        memory = default;
        device.Return(this);
        return result;
    }

    ValueTaskSourceStatus IValueTaskSource<BlockResult>.GetStatus(short token) => completion.GetStatus(token);

    void IValueTaskSource<BlockResult>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        completion.OnCompleted(continuation, state, token, flags);
}
