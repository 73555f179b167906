namespace CowScsi.Scsi;

/// <summary>
/// A program's own part in a logical unit: it sees each command before the logical unit carries it out, answers those that it wants, and
/// leaves the others with <see cref="ScsiAnswer.NotHandled"/>. Given to a logical unit by <see cref="LogicalUnitOptions.Handler"/>.
/// </summary>
/// <remarks>
/// <para>What comes before the handler, unless it <see cref="ComesFirst"/>: the task set (order, limits, aborts), reservations, pending
/// unit attentions, access states; and for the commands that the logical unit has or the handler declares, a medium that is out or being
/// erased, write protection, and bits of the CDB that mean nothing. An undeclared command that the logical unit has not comes to the
/// handler unchecked.</para>
/// <para>What comes after it: a command that is left and that the logical unit does not have ends with INVALID COMMAND OPERATION CODE. An
/// exception ends the command with HARDWARE ERROR, INTERNAL TARGET FAILURE and one line to <see cref="LogicalUnitOptions.Log"/>; nothing
/// else ends with it.</para>
/// <para>Commands arrive on the threads of the transports, several at once. What would wait is awaited, or is put on other threads
/// (<see cref="ThreadedCommandHandler"/>): a handler that holds its caller up holds up the whole ring or connection. Nothing is allocated
/// for a command beside what the handler allocates.</para>
/// <para>Pieces of third-party copies are made of block requests and go to the device; the commands that ask for a copy come here.</para>
/// </remarks>
public abstract class ScsiCommandHandler
{
    /// <summary>
    /// True for a handler that answers for everything: it sees each command as it came, before every check but that of the task set. A unit
    /// attention that is pending is reported by the first command that it leaves. Asked once.
    /// </summary>
    public virtual bool ComesFirst => false;

    /// <summary>Commands that it declares, beside those that it answers without. Asked once.</summary>
    public virtual IReadOnlyList<HandledCommand> Commands => [];

    /// <summary>Answers a command, at once or later, or leaves it. Called on any thread, several at once.</summary>
    public abstract ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command);
}
