namespace CowScsi.Scsi;

/// <summary>
/// The bounds of third-party copy (SPC-4, 5.17). RECEIVE COPY OPERATING PARAMETERS, the Third-party Copy VPD page and the commands all read
/// them here, so that what is announced is what is enforced.
/// </summary>
internal static class CopyLimits
{
    /// <summary>CSCD descriptors of one EXTENDED COPY: initiators send two.</summary>
    public const int CscdDescriptorsMax = 64;

    /// <summary>Segment descriptors of one EXTENDED COPY: some hypervisors send one for each fragment of a file.</summary>
    public const int SegmentDescriptorsMax = 256;

    /// <summary>MAXIMUM DESCRIPTOR LIST LENGTH: both lists, full.</summary>
    public const int DescriptorListBytesMax =
        (CscdDescriptorsMax * CscdDescriptor.Bytes) + (SegmentDescriptorsMax * SegmentDescriptor.BlockToBlockBytes);

    /// <summary>
    /// TOTAL CONCURRENT COPIES of one <see cref="CopyDomain"/>: each holds its descriptors and keeps two devices busy. One more ends with TASK SET FULL,
    /// and the initiator sends it again.
    /// </summary>
    public const int CopiesMax = 64;

    /// <summary>Ended copies that one I_T nexus can still ask about; the oldest one is forgotten first.</summary>
    public const int HeldResultsMax = 32;

    /// <summary>
    /// What is copied between two looks at aborts and exclusive commands: a fraction of a second even where bytes move, much where only
    /// references do.
    /// </summary>
    public const int PieceBytes = 16 << 20;

    /// <summary>MAXIMUM RANGE DESCRIPTORS of POPULATE TOKEN and WRITE USING TOKEN.</summary>
    public const int RangeDescriptorsMax = 64;

    /// <summary>ROD tokens that are valid at once in one <see cref="CopyDomain"/>: half a kilobyte each.</summary>
    public const int TokensMax = 1024;

    /// <summary>Of them, those that one initiator device had made: one that forgets its tokens leaves others theirs.</summary>
    public const int TokensOfInitiatorMax = 256;

    /// <summary>DEFAULT INACTIVITY TIMEOUT: what a copy that lost its initiator leaves behind is gone soon.</summary>
    public const uint TokenInactivitySecondsDefault = 60;

    /// <summary>MAXIMUM INACTIVITY TIMEOUT.</summary>
    public const uint TokenInactivitySecondsMax = 600;
}
