using Xunit.Sdk;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>The bound of every wait, so that what hangs is named.</summary>
internal static class Bounds
{
    /// <summary>Many times what anything here takes on a busy machine.</summary>
    public static readonly TimeSpan Patience = TimeSpan.FromSeconds(60);

    public static async Task<T> BoundedAsync<T>(this Task<T> task, string what)
    {
        await ((Task)task).BoundedAsync(what);
        return await task;
    }

    public static async Task BoundedAsync(this Task task, string what)
    {
        try
        {
            await task.WaitAsync(Patience);
        }
        catch (TimeoutException timeout)
        {
            throw new XunitException($"{what} did not end within {Patience.TotalSeconds} s", timeout);
        }
    }
}
