namespace CowScsi.Iscsi.Sessions;

/// <summary>What the command sequence number of a PDU says about it.</summary>
internal enum CommandTurn : byte
{
    /// <summary>It is the next in order.</summary>
    Now = 1,

    /// <summary>Earlier ones are missing.</summary>
    Later = 2,

    /// <summary>Outside the window, or seen before: to be ignored without a word (RFC 7143, 4.2.2.1).</summary>
    Ignore = 3,
}

/// <summary>
/// The command window of a session: ExpCmdSN and MaxCmdSN of RFC 7143, 4.2.2.1, in serial number arithmetic. The window shrinks while
/// commands are outstanding, so at most depthMax non-immediate commands are held at any time. MaxCmdSN never goes back.
/// </summary>
internal sealed class CommandWindow(uint firstCmdSN, int depthMax)
{
    private readonly object?[] waiting = new object?[depthMax];
    private int outstanding;

    public uint ExpCmdSN { get; private set; } = firstCmdSN;

    public uint MaxCmdSN => ExpCmdSN + (uint)(depthMax - outstanding) - 1;

    public int Outstanding => outstanding;

    public CommandTurn TurnOf(uint cmdSN)
    {
        var distance = unchecked((int)(cmdSN - ExpCmdSN));
        if (distance < 0 || unchecked((int)(cmdSN - MaxCmdSN)) > 0)
            return CommandTurn.Ignore;
        if (distance == 0)
            return CommandTurn.Now;
        return waiting[cmdSN % (uint)waiting.Length] is null ? CommandTurn.Later : CommandTurn.Ignore;
    }

    /// <summary>Takes the number that is due. A SCSI command holds its place in the window until <see cref="Complete"/>.</summary>
    public void Deliver(bool isScsiCommand)
    {
        ExpCmdSN++;
        if (isScsiCommand)
            outstanding++;
    }

    public void Complete() => outstanding--;

    /// <summary>Keeps what is not due yet.</summary>
    public void Keep(uint cmdSN, object item) => waiting[cmdSN % (uint)waiting.Length] = item;

    /// <summary>What was kept for the number that is due now, if anything.</summary>
    public object? TakeDue()
    {
        ref var place = ref waiting[ExpCmdSN % (uint)waiting.Length];
        var item = place;
        place = null;
        return item;
    }
}
