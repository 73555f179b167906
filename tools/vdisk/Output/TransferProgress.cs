using System.Diagnostics;
using CowScsi.Vdisk.Text;
using Spectre.Console;
using Spectre.Console.Rendering;
using Cell = Spectre.Console.Text;

namespace CowScsi.Vdisk.Output;

/// <summary>Shows how far long work has come, on standard error and only where a person is watching.</summary>
internal static class TransferProgress
{
    private static readonly TimeSpan Interval = TimeSpan.FromMilliseconds(100);

    /// <summary>Runs work that moves bytes.</summary>
    /// <param name="sizeBytes">All of them, where that is known.</param>
    /// <param name="positionBytes">How many were moved so far; asked from another thread.</param>
    public static Task<T> RunAsync<T>(
        CliEnvironment environment, string title, long? sizeBytes, Func<long> positionBytes, Func<Task<T>> work) =>
        RunAsync(environment, title, () => sizeBytes, positionBytes, work);

    public static Task<T> RunAsync<T>(
        CliEnvironment environment, string title, Func<long?> sizeBytes, Func<long> positionBytes, Func<Task<T>> work) =>
        environment.ErrorIsTerminal ? DrawAsync(environment, title, sizeBytes, positionBytes, isBytes: true, work) : work();

    /// <summary>Runs work that tells which fraction of it is done.</summary>
    public static Task<T> RunWithFractionAsync<T>(CliEnvironment environment, string title, Func<IProgress<double>?, Task<T>> work)
    {
        if (!environment.ErrorIsTerminal)
            return work(null);
        var fraction = new Fraction();
        return DrawAsync(environment, title, static () => Fraction.Whole, () => fraction.Parts, isBytes: false, () => work(fraction));
    }

    private static async Task<T> DrawAsync<T>(
        CliEnvironment environment, string title, Func<long?> size, Func<long> position, bool isBytes, Func<Task<T>> work)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings { Out = new AnsiConsoleOutput(environment.Error) });
        List<ProgressColumn> columns = [new TaskDescriptionColumn(), new ProgressBarColumn(), new PercentageColumn()];
        if (isBytes)
            columns.Add(new RateColumn());
        columns.Add(new RemainingColumn());
        return await console.Progress().AutoClear(true).HideCompleted(true).Columns([.. columns]).StartAsync(async context =>
        {
            var bar = context.AddTask(Markup.Escape(title));
            var running = Task.Run(work);
            while (!running.IsCompleted)
            {
                Update(bar, size(), position());
                await Task.WhenAny(running, Task.Delay(Interval));
            }

            return await running;
        });
    }

    private static void Update(ProgressTask bar, long? size, long position)
    {
        bar.IsIndeterminate = size is null;
        // A bar of unknown length still needs a maximum beyond its value, or it is taken for complete.
        bar.MaxValue = size ?? Math.Max(position, 1) * 2d;
        bar.Value = position;
    }

    /// <summary>Bytes a second, averaged over the whole run.</summary>
    private sealed class RateColumn : ProgressColumn
    {
        private readonly long startTimestamp = Stopwatch.GetTimestamp();

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime)
        {
            var seconds = Stopwatch.GetElapsedTime(startTimestamp).TotalSeconds;
            return new Cell(seconds < 0.5 ? "" : ByteSize.Format((long)(task.Value / seconds)) + "/s");
        }
    }

    /// <summary>Time that is left at the average rate so far.</summary>
    private sealed class RemainingColumn : ProgressColumn
    {
        private readonly long startTimestamp = Stopwatch.GetTimestamp();

        public override IRenderable Render(RenderOptions options, ProgressTask task, TimeSpan deltaTime)
        {
            var elapsed = Stopwatch.GetElapsedTime(startTimestamp);
            if (task.IsIndeterminate || task.Value <= 0 || elapsed.TotalSeconds < 1)
                return new Cell("");
            var left = TimeSpan.FromSeconds(Math.Min(elapsed.TotalSeconds * (task.MaxValue - task.Value) / task.Value, TimeSpan.FromDays(99).TotalSeconds));
            return new Cell(left.TotalHours >= 1 ? $"{(int)left.TotalHours}:{left:mm\\:ss} left" : $"{left:m\\:ss} left");
        }
    }

    private sealed class Fraction : IProgress<double>
    {
        /// <summary>The whole, in parts.</summary>
        public const long Whole = 10_000;

        private long parts;

        public long Parts => Volatile.Read(ref parts);

        void IProgress<double>.Report(double value) => Volatile.Write(ref parts, (long)(Math.Clamp(value, 0, 1) * Whole));
    }
}
