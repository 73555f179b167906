using System.Diagnostics;

namespace CowScsi.Bench;

/// <summary>Counts the operations of one run and tells when it is over. One thread.</summary>
internal sealed class RunMeter
{
    private readonly long startTicks = Stopwatch.GetTimestamp();
    private readonly long allocatedBytesAtStart = GC.GetTotalAllocatedBytes();
    private readonly long endTicks;
    private long lastTicks;
    private long longestTicks;

    public RunMeter(double seconds)
    {
        lastTicks = startTicks;
        endTicks = startTicks + (long)(seconds * Stopwatch.Frequency);
    }

    public long Operations { get; private set; }

    public double OperationsPerSecond => Operations / Stopwatch.GetElapsedTime(startTicks, lastTicks).TotalSeconds;

    public double LongestMilliseconds => longestTicks * 1000.0 / Stopwatch.Frequency;

    public double AllocatedBytesPerOperation { get; private set; }

    /// <summary>Notes that an operation ended; false once the time of the run is over, or where that was the last one.</summary>
    public bool Count(bool isLast = false)
    {
        var now = Stopwatch.GetTimestamp();
        longestTicks = Math.Max(longestTicks, now - lastTicks);
        lastTicks = now;
        Operations++;
        if (now < endTicks && !isLast)
            return true;
        AllocatedBytesPerOperation = (GC.GetTotalAllocatedBytes() - allocatedBytesAtStart) / (double)Operations;
        return false;
    }
}
