namespace CowScsi.Scsi;

/// <summary>
/// An I_T_L nexus (SAM-5, 3.1): what a logical unit remembers about one initiator port and target port pair.
/// </summary>
internal sealed class ItlNexus(Nexus nexus, LogicalUnit unit, int lun)
{
    private UnitAttentionSet attentions;
    private volatile ReservationAccess access;
    private volatile PortAccess portAccess;

    public Nexus Nexus { get; } = nexus;

    public LogicalUnit Unit { get; } = unit;

    public int Lun { get; } = lun;

    /// <summary>No further task is let in. Guarded by the task set's lock.</summary>
    public bool IsDetached { get; set; }

    /// <summary>This nexus holds the medium (PREVENT ALLOW MEDIUM REMOVAL). Guarded by the logical unit's lock.</summary>
    public bool PreventsRemoval { get; set; }

    /// <summary>What reservations let this nexus do. Set under the logical unit's lock, read without it.</summary>
    public ReservationAccess Access
    {
        get => access;
        set => access = value;
    }

    /// <summary>The access state of the target port's group here. Set under the logical unit's lock, read without it.</summary>
    public PortAccess PortAccess
    {
        get => portAccess;
        set => portAccess = value;
    }

    /// <summary>The third-party copies of this nexus: those under way, and the results that are held for it.</summary>
    public CopyOperations Copies { get; } = new();

    /// <summary>Unit attention conditions pending for this nexus.</summary>
    public ref UnitAttentionSet Attentions => ref attentions;

    /// <summary>A condition was taken and reported to the initiator.</summary>
    public void OnReported(UnitAttention condition)
    {
        if (condition == UnitAttention.ReportedLunsDataHasChanged)
            Nexus.ClearReportedLunsChange();
    }
}
