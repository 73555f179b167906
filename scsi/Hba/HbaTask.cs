namespace CowScsi.Scsi;

/// <summary>
/// A SCSI command that a <see cref="VirtualHba"/> gave out. Whoever has it owns the command and its data until it calls
/// <see cref="Complete"/> or <see cref="PutBack"/>, exactly one of them, once; one thread at a time.
/// </summary>
public readonly struct HbaTask
{
    private readonly HbaTaskSource source;
    private readonly int life;

    internal HbaTask(HbaTaskSource source, int life)
    {
        this.source = source;
        this.life = life;
    }

    /// <summary>The CDB, 0 to 32 bytes.</summary>
    public ReadOnlySpan<byte> Cdb => Command.Cdb;

    /// <summary>The command with all that a <see cref="ScsiCommandHandler"/> sees of it.</summary>
    /// <exception cref="InvalidOperationException">The task was completed or put back before.</exception>
    public IncomingCommand Command
    {
        get
        {
            source.Check(life);
            return source.Command;
        }
    }

    /// <summary>The logical unit that it is for.</summary>
    public LogicalUnit Unit => Command.Unit;

    /// <summary>Number of the logical unit, as the initiator has it.</summary>
    public int Lun => Command.Lun;

    /// <summary>Bytes that came with the command and that <see cref="ReceiveData"/> has not given yet.</summary>
    public long BytesToReceive
    {
        get
        {
            source.Check(life);
            return source.DataOut.Length;
        }
    }

    /// <summary>Room that is left for <see cref="SendData"/>, in bytes.</summary>
    public long RoomToSend
    {
        get
        {
            source.Check(life);
            return source.DataIn.Length;
        }
    }

    /// <summary>True once a task management function wants the task to end; complete it then, with anything.</summary>
    public bool IsAborted => Command.IsAborted;

    /// <summary>Takes the next bytes that the initiator sent with the command.</summary>
    /// <returns>How many: fewer than there is place for where no more came.</returns>
    public int ReceiveData(Span<byte> destination)
    {
        source.Check(life);
        return source.Receive(destination);
    }

    /// <summary>Appends bytes to what the initiator gets.</summary>
    /// <returns>How many had room; the rest is dropped, and the initiator is told that there was more.</returns>
    public int SendData(ReadOnlySpan<byte> bytes)
    {
        source.Check(life);
        return source.Send(bytes);
    }

    /// <summary>
    /// Ends the task. With <see cref="ScsiAnswer.Good"/> the initiator gets what was sent and is told what was received; with
    /// <see cref="ScsiAnswer.NotHandled"/> the logical unit emulates the command, and what was sent is dropped.
    /// </summary>
    /// <exception cref="InvalidOperationException">The task was completed or put back before.</exception>
    public void Complete(ScsiAnswer answer) => source.Complete(life, answer);

    /// <summary>Gives the task to whoever asks next: for an engine that cannot finish what it began.</summary>
    /// <exception cref="InvalidOperationException">The task was completed or put back before.</exception>
    public void PutBack() => source.PutBack(life);
}
