using System.Threading.Tasks.Sources;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A command between its logical unit and whoever serves the HBA: reused. It has many lives, each with an odd number while somebody may
/// complete it; a task of an earlier life finds another number, and changes nothing.
/// </summary>
internal sealed class HbaTaskSource(VirtualHba hba) : IValueTaskSource<ScsiAnswer>
{
    private ManualResetValueTaskSourceCore<ScsiAnswer> completion;
    private int life;
    private long sentBytes;
    private long receivedBytes;

    public IncomingCommand Command { get; private set; }

    /// <summary>What was not received yet.</summary>
    public IoBuffer DataOut { get; private set; }

    /// <summary>Room that was not sent to yet.</summary>
    public IoBuffer DataIn { get; private set; }

    /// <summary>Number of the present life.</summary>
    public int Life => Volatile.Read(ref life);

    public ValueTask<ScsiAnswer> Begin(IncomingCommand command)
    {
        Command = command;
        Rewind();
        completion.Reset();
        Volatile.Write(ref life, unchecked(life + 1));
        return new ValueTask<ScsiAnswer>(this, completion.Version);
    }

    public void Check(int expected)
    {
        if (Life != expected)
            throw new InvalidOperationException("The task was completed or put back before.");
    }

    public int Receive(Span<byte> destination)
    {
        var count = DataOut.CopyTo(destination);
        DataOut = DataOut.Slice(count);
        receivedBytes += count;
        return count;
    }

    public int Send(ReadOnlySpan<byte> bytes)
    {
        var count = DataIn.CopyFrom(bytes);
        DataIn = DataIn.Slice(count);
        sentBytes += bytes.Length;
        return count;
    }

    public void Complete(int expected, ScsiAnswer answer)
    {
        Take(expected, next: unchecked(expected + 1));
        if (answer.IsPlainGood)
        {
            if (sentBytes > 0)
                answer = ScsiAnswer.GoodWithDataIn(sentBytes);
            else if (receivedBytes > 0)
                answer = ScsiAnswer.GoodAfterDataOut(receivedBytes);
        }

        completion.SetResult(answer);
    }

    public void PutBack(int expected)
    {
        Take(expected, next: unchecked(expected + 2));
        Rewind();
        hba.Enqueue(this);
    }

    ScsiAnswer IValueTaskSource<ScsiAnswer>.GetResult(short token)
    {
        var answer = completion.GetResult(token);
        Command = default;
        DataOut = default;
        DataIn = default;
        hba.Return(this);
        return answer;
    }

    ValueTaskSourceStatus IValueTaskSource<ScsiAnswer>.GetStatus(short token) => completion.GetStatus(token);

    void IValueTaskSource<ScsiAnswer>.OnCompleted(
        Action<object?> continuation, object? state, short token, ValueTaskSourceOnCompletedFlags flags) =>
        completion.OnCompleted(continuation, state, token, flags);

    private void Take(int expected, int next)
    {
        if (Interlocked.CompareExchange(ref life, next, expected) != expected)
            throw new InvalidOperationException("The task was completed or put back before.");
    }

    private void Rewind()
    {
        DataOut = Command.DataOut;
        DataIn = Command.DataIn;
        sentBytes = 0;
        receivedBytes = 0;
    }
}
