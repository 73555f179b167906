namespace CowScsi.VhostUser.Rings;

/// <summary>
/// How long a queue looks for its next request before its thread sleeps: only while that pays. A sleep that turns out shorter than the
/// longest budget would have been saved by looking longer, so the budget grows; a longer one was rightly slept, so it shrinks, down to
/// nothing. Times are nanoseconds.
/// </summary>
internal sealed class PollingBudget
{
    /// <summary>Waking a thread costs a guest some 5 to 50 us; looking longer than this costs more than it saves.</summary>
    public const long BudgetMax = 100_000;

    public const long BudgetMin = 5_000;

    /// <summary>The budget now; zero where the queue sleeps at once.</summary>
    public long Budget { get; private set; }

    /// <summary>The thread slept for so long before there was something to do.</summary>
    public void OnSlept(long nanoseconds)
    {
        if (nanoseconds <= BudgetMax)
            Budget = Math.Clamp(Budget * 2, BudgetMin, BudgetMax);
        else
            Budget = Budget <= BudgetMin ? 0 : Budget / 2;
    }
}
