namespace CowScsi.Scsi;

/// <summary>How a logical unit presents its device.</summary>
public sealed record LogicalUnitOptions
{
    /// <summary>Tasks that one logical unit holds at most before it answers TASK SET FULL: several queues of 128 commands from each of
    /// a few dozen initiators, and a bound on what the task set keeps.</summary>
    public const int DefaultTasksMax = 4096;

    /// <summary>Refuses every change with WRITE PROTECTED, whatever the device would accept.</summary>
    public bool IsReadOnly { get; init; }

    /// <summary>Presents a removable medium (RMB is one): START STOP UNIT ejects and loads it, PREVENT ALLOW holds it.</summary>
    public bool IsRemovable { get; init; }

    /// <summary>Where the logical unit keeps what survives a restart; null for one that keeps nothing, and says so.</summary>
    public ILogicalUnitMemory? Memory { get; init; }

    /// <summary>Sees commands before the logical unit carries them out; null where it carries out all of them itself.</summary>
    public ScsiCommandHandler? Handler { get; init; }

    /// <summary>Takes one line for each command whose handler failed, on any thread; null drops them.</summary>
    public Action<string>? Log { get; init; }

    /// <summary>Tasks in the task set before the answer is TASK SET FULL; 1 or more.</summary>
    public int TasksMax { get; init; } = DefaultTasksMax;
}
