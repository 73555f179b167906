using System.Diagnostics.CodeAnalysis;
using System.Threading.Channels;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A host bus adapter whose commands a program fetches and answers itself: every command that an initiator sends to one of its logical units
/// becomes a task; the program gets tasks, receives and sends their data, and completes them, in any order. What it does not want to
/// do it leaves to the logical unit (<see cref="ScsiAnswer.NotHandled"/>). How initiators reach the units - this machine's kernel, a virtual
/// machine, the network - is the transport's affair.
/// </summary>
/// <remarks>
/// <para>Any number of engines - threads or loops - may get tasks of one HBA: each task goes to one of them, and one that fails puts
/// its tasks back for the others. Members may be called from any thread. Nothing is allocated for a task once as many have been under way.</para>
/// <para>A task that nobody gets waits, and the task management function that wants it to end waits for it too, so keep an engine running
/// while there are initiators. Tasks that were aborted before anybody got them are not given out. The number of tasks is bounded by
/// <see cref="LogicalUnitOptions.TasksMax"/> of each logical unit.</para>
/// </remarks>
public sealed class VirtualHba : ScsiCommandHandler, IDisposable
{
    private readonly Channel<HbaTask> waiting = Channel.CreateUnbounded<HbaTask>();
    private readonly Lock gate = new();
    private readonly Stack<HbaTaskSource> idle = new();
    private volatile bool isClosed;

    /// <summary>Every command becomes a task as it came.</summary>
    public override bool ComesFirst => true;

    /// <summary>
    /// Makes a logical unit of this HBA. What is left to it is emulated from its geometry and identity; it has no medium of its own, so a
    /// READ or WRITE that is left ends with INTERNAL TARGET FAILURE. The caller closes it, after its transport and before the HBA.
    /// </summary>
    /// <param name="name">What tells it from other disks: <see cref="LogicalUnitIdentity.FromName"/>.</param>
    /// <param name="geometry">What READ CAPACITY and the like tell.</param>
    /// <param name="options">Further options; their handler is replaced.</param>
    [SuppressMessage("Reliability", "CA2000", Justification = "The medium that is none holds nothing.")]
    public LogicalUnit CreateUnit(string name, BlockGeometry geometry, LogicalUnitOptions? options = null)
    {
        ArgumentNullException.ThrowIfNull(geometry);
        return new LogicalUnit(
            new NoMedium(geometry.Checked()), LogicalUnitIdentity.FromName(name), (options ?? new LogicalUnitOptions()) with { Handler = this });
    }

    /// <summary>The task that has waited longest; false where none waits.</summary>
    public bool TryGetTask(out HbaTask task)
    {
        while (waiting.Reader.TryRead(out task))
        {
            if (!IsEnded(task))
                return true;
        }

        return false;
    }

    /// <summary>The task that has waited longest, as soon as there is one; null once the HBA was disposed of.</summary>
    public async ValueTask<HbaTask?> GetTaskAsync(CancellationToken cancellation = default)
    {
        do
        {
            if (TryGetTask(out var task))
                return task;
        }
        while (await waiting.Reader.WaitToReadAsync(cancellation));
        return null;
    }

    /// <inheritdoc/>
    public override ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command)
    {
        if (isClosed)
            return new(ScsiAnswer.CheckCondition(SenseCodes.NotReadyCauseNotReportable));
        HbaTaskSource? source;
        lock (gate)
        {
            if (!idle.TryPop(out source))
                source = new HbaTaskSource(this);
        }

        var answer = source.Begin(command);
        Enqueue(source);
        return answer;
    }

    /// <summary>
    /// Gives out no more tasks. Those that wait, and later commands, end with NOT READY; those that were given out are still to be completed.
    /// </summary>
    public void Dispose()
    {
        isClosed = true;
        waiting.Writer.TryComplete();
        while (waiting.Reader.TryRead(out var task))
            task.Complete(ScsiAnswer.CheckCondition(SenseCodes.NotReadyCauseNotReportable));
    }

    internal void Enqueue(HbaTaskSource source)
    {
        var task = new HbaTask(source, source.Life);
        if (!waiting.Writer.TryWrite(task))
            task.Complete(ScsiAnswer.CheckCondition(SenseCodes.NotReadyCauseNotReportable));
    }

    internal void Return(HbaTaskSource source)
    {
        lock (gate)
            idle.Push(source);
    }

    private static bool IsEnded(HbaTask task)
    {
        if (!task.IsAborted)
            return false;
        task.Complete(ScsiAnswer.Good);
        return true;
    }

    /// <summary>What the geometry is of, and nothing is on.</summary>
    private sealed class NoMedium(BlockGeometry geometry) : BlockDevice
    {
        private static readonly BlockResult None = BlockResult.Fail(BlockOutcome.NotSupported);

        public override BlockGeometry Geometry { get; } = geometry;

        public override ValueTask<BlockResult> ReadAsync(long offsetBytes, IoBuffer destination) => new(None);

        public override ValueTask<BlockResult> WriteAsync(long offsetBytes, IoBuffer source, WriteOptions options) => new(None);

        public override ValueTask<BlockResult> FlushAsync() => new(BlockResult.Success);
    }
}
