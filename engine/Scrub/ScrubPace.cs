using System.Diagnostics;

namespace CowScsi.Engine;

/// <summary>Bounds a rate: what was spent is paid for by waiting, before more is. A pause is not made up for by a burst.</summary>
internal sealed class ScrubPace(long bytesPerSecond, WaitHandle stop)
{
    private long rate = bytesPerSecond;
    private long due = Stopwatch.GetTimestamp();

    public long BytesPerSecond
    {
        get => Interlocked.Read(ref rate);
        set => Interlocked.Exchange(ref rate, value);
    }

    /// <summary>Waits until the bytes are within the rate; false where the work is to stop.</summary>
    public bool Spend(long bytes)
    {
        var now = Stopwatch.GetTimestamp();
        due = Math.Max(due, now) + (long)((double)bytes / BytesPerSecond * Stopwatch.Frequency);
        var wait = (due - now) * 1000 / Stopwatch.Frequency;
        return !stop.WaitOne((int)Math.Min(wait, int.MaxValue));
    }
}
