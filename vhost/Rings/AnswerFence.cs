namespace CowScsi.VhostUser.Rings;

/// <summary>
/// Waits until the answers of certain requests are with the guest, whichever queues they are in: a task management function answers after
/// the commands that it ended. Safe for any number of threads.
/// </summary>
internal sealed class AnswerFence(Action onPassed)
{
    private readonly Lock gate = new();
    private readonly List<AnswerFence> followers = [];
    private int remaining;

    /// <summary>One thing more to wait for.</summary>
    public void Add()
    {
        lock (gate)
            remaining++;
    }

    /// <summary>Waits for a request that another fence waits for already, so for that fence as a whole.</summary>
    public void Follow(AnswerFence earlier)
    {
        Add();
        lock (earlier.gate)
            earlier.followers.Add(this);
    }

    /// <summary>One thing less; the last one lets the fence be passed.</summary>
    public void Release()
    {
        lock (gate)
        {
            if (--remaining > 0)
                return;
        }

        onPassed();
        foreach (var follower in followers)
            follower.Release();
    }
}
