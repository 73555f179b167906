using System.Diagnostics;

namespace CowScsi.Bench.Iscsi;

/// <summary>Sessions side by side on one logical unit. One client for all targets, with what other clients lack: data digests, several sessions.</summary>
internal static class IscsiLoad
{
    /// <returns>Commands a second, of all sessions together.</returns>
    public static double Run(LoadOptions options)
    {
        var sessions = new LoadSession[options.Sessions];
        for (var i = 0; i < sessions.Length; i++)
            sessions[i] = new LoadSession(options, i);
        var failures = new Exception?[sessions.Length];
        var start = Stopwatch.GetTimestamp();
        var deadline = start + (long)(options.Seconds * Stopwatch.Frequency);
        var threads = new Thread[sessions.Length];
        for (var i = 0; i < threads.Length; i++)
        {
            var own = i;
            threads[i] = new Thread(() => Guard(sessions[own], deadline, ref failures[own])) { Name = $"load-{own}" };
            threads[i].Start();
        }

        foreach (var thread in threads)
            thread.Join();
        var seconds = Stopwatch.GetElapsedTime(start).TotalSeconds;
        foreach (var session in sessions)
            session.Dispose();
        foreach (var failure in failures)
        {
            if (failure is not null)
                throw new BenchException(failure.Message);
        }

        return sessions.Sum(static session => session.Completed) / seconds;
    }

    private static void Guard(LoadSession session, long deadline, ref Exception? failure)
    {
        try
        {
            session.Run(deadline);
        }
        catch (Exception error) when (error is BenchException or System.Net.Sockets.SocketException)
        {
            failure = error;
        }
    }
}
