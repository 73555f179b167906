namespace CowScsi.Scsi;

/// <summary>
/// An I_T nexus: one initiator port talking to one target port. The transport creates it at login and removes it at logout or
/// connection loss.
/// </summary>
public sealed class Nexus
{
    /// <summary>What stands between the names of an iSCSI initiator device and of its port (RFC 7143, 4.4.2).</summary>
    private const string PortSuffix = ",i,0x";

    /// <summary>By LUN; replaced as a whole when the LUN map changes, under the target's lock, and read without it.</summary>
    private volatile ItlNexus?[] units = [];

    internal Nexus(ScsiTarget target, string initiatorPortName)
    {
        Target = target;
        InitiatorPortName = initiatorPortName;
        Name = NexusName.Of(initiatorPortName, target.PortName);
        var port = initiatorPortName.LastIndexOf(PortSuffix, StringComparison.Ordinal);
        InitiatorDeviceName = port > 0 ? initiatorPortName[..port] : initiatorPortName;
    }

    public ScsiTarget Target { get; }

    /// <summary>The initiator port's SCSI name (for iSCSI: InitiatorName,i,0xISID).</summary>
    public string InitiatorPortName { get; }

    /// <summary>What the nexus is recognized by when it comes back.</summary>
    internal NexusName Name { get; }

    /// <summary>The SCSI name of the initiator device: all ports of one initiator have it in common.</summary>
    internal string InitiatorDeviceName { get; }

    internal ReadOnlySpan<ItlNexus?> Units => units;

    /// <summary>Ways to logical units that were unmapped with commands of this nexus under way. Guarded by the target's lock.</summary>
    internal List<ItlNexus> Unmapped { get; } = [];

    internal ItlNexus? Find(int lun)
    {
        var all = units;
        return (uint)lun < (uint)all.Length ? all[lun] : null;
    }

    internal void Set(int lun, ItlNexus? itl)
    {
        var old = units;
        var copy = new ItlNexus?[Math.Max(old.Length, lun + 1)];
        old.CopyTo(copy, 0);
        copy[lun] = itl;
        units = copy;
    }

    /// <summary>
    /// The change of the LUN inventory has been told to this nexus: no logical unit tells it again (SAM-5, 5.14; LUICLR in the Extended
    /// INQUIRY page).
    /// </summary>
    internal void ClearReportedLunsChange()
    {
        foreach (var itl in units)
            itl?.Attentions.Clear(UnitAttention.ReportedLunsDataHasChanged);
    }
}
