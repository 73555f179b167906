namespace CowScsi.Tests.Property;

/// <summary>Laws are checked on one thread, which waits for each request.</summary>
internal static class Waiting
{
    public static T For<T>(ValueTask<T> request) =>
        request.IsCompletedSuccessfully ? request.Result : request.AsTask().GetAwaiter().GetResult();

    public static void Close(IAsyncDisposable what)
    {
        var closed = what.DisposeAsync();
        if (!closed.IsCompletedSuccessfully)
            closed.AsTask().GetAwaiter().GetResult();
    }
}
