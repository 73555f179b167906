namespace CowScsi.Scsi;

/// <summary>A soft threshold of the Logical Block Provisioning mode page (SBC-4, 6.5.9).</summary>
/// <param name="IsEnabled">ENABLED: crossing it makes a unit attention condition, where LBPERE is one.</param>
/// <param name="Count">THRESHOLD COUNT, in threshold sets: see <see cref="Provisioning"/>.</param>
internal readonly record struct Threshold(bool IsEnabled, uint Count);

/// <summary>
/// The mode parameters that an initiator can change; everything else in a mode page is fixed. A change makes a new value, so that a
/// reader sees one state.
/// </summary>
/// <param name="IsWriteCacheEnabled">WCE, SBC-4 6.5.6: writes may be acknowledged before they are durable.</param>
/// <param name="IsSoftwareWriteProtected">SWP, SPC-5 7.5.8: every change of the medium is refused.</param>
/// <param name="UsesDescriptorSense">D_SENSE, SPC-5 7.5.8: sense data takes the descriptor format.</param>
internal sealed record ModeParameters(bool IsWriteCacheEnabled, bool IsSoftwareWriteProtected, bool UsesDescriptorSense)
{
    /// <summary>LBPERE, SBC-4 6.5.10: thresholds are reported by unit attention.</summary>
    public bool ReportsThresholds { get; init; }

    /// <summary>Reached when no more than this is left for data.</summary>
    public Threshold Available { get; init; }

    /// <summary>Reached when this much is stored.</summary>
    public Threshold Used { get; init; }
}
