using System.Runtime.CompilerServices;
using CowScsi.Scsi;
using CowScsi.Tcmu.Ring;

namespace CowScsi.Tcmu.Devices;

/// <summary>A command on its way from the ring through the SCSI target and back: reused. It belongs to the ring's thread.</summary>
internal sealed class RingTask
{
    private readonly Action onCompleted;
    private ValueTaskAwaiter awaiter;

    public RingTask(RingServer server) => onCompleted = () => server.OnCompleted(this);

    public RingCommand Entry { get; } = new();

    public ScsiCommand Command { get; } = new();

    /// <summary>Link in the list of commands that completed on other threads.</summary>
    public RingTask? NextCompleted { get; set; }

    /// <summary>Place in the server's list of commands that wait for their device; -1 while it does not.</summary>
    public int WaitingAt { get; set; } = -1;

    /// <summary>Aborted and answered already; its data's room is kept for it until the device lets go.</summary>
    public bool IsAnswered { get; set; }

    /// <summary>Gives the command to the target. True where it completed at once; else the server gets it back, on another thread.</summary>
    public bool Execute(Nexus nexus)
    {
        Command.Reset(Entry.Cdb);
        Command.Tag = Entry.Id;
        Command.Lun = 0;
        // The entry does not say which way its data goes; the command does, and touches only its own side.
        Command.DataIn = Entry.Data;
        Command.DataOut = Entry.Data;
        IsAnswered = false;
#pragma warning disable CA2012 // Awaited by hand, without an allocation: completed or continued once here, its result taken once below.
        awaiter = nexus.Target.ExecuteAsync(nexus, Command).GetAwaiter();
#pragma warning restore CA2012
        if (awaiter.IsCompleted)
            return true;
        awaiter.UnsafeOnCompleted(onCompleted);
        return false;
    }

    /// <summary>Takes the result of <see cref="Execute"/>, once.</summary>
    public void TakeResult()
    {
        var completed = awaiter;
        awaiter = default;
        completed.GetResult();
    }
}
