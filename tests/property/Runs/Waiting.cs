using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>Laws are checked on one thread, which waits for each request.</summary>
internal static class Waiting
{
    public static BlockResult For(ValueTask<BlockResult> request) =>
        request.IsCompletedSuccessfully ? request.Result : request.AsTask().GetAwaiter().GetResult();

    public static void Close(IAsyncDisposable what)
    {
        var closed = what.DisposeAsync();
        if (!closed.IsCompletedSuccessfully)
            closed.AsTask().GetAwaiter().GetResult();
    }
}
