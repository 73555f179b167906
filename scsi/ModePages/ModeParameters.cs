namespace CowScsi.Scsi;

/// <summary>
/// The mode parameters that an initiator can change; everything else in a mode page is fixed. A change makes a new value, so that a
/// reader sees one state.
/// </summary>
/// <param name="IsWriteCacheEnabled">WCE, SBC-4 6.5.6: writes may be acknowledged before they are durable.</param>
/// <param name="IsSoftwareWriteProtected">SWP, SPC-5 7.5.8: every change of the medium is refused.</param>
/// <param name="UsesDescriptorSense">D_SENSE, SPC-5 7.5.8: sense data takes the descriptor format.</param>
internal sealed record ModeParameters(bool IsWriteCacheEnabled, bool IsSoftwareWriteProtected, bool UsesDescriptorSense);
