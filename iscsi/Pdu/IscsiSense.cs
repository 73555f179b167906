using CowScsi.Scsi;

namespace CowScsi.Iscsi.Pdu;

/// <summary>
/// Sense data that the iSCSI layer itself reports, for a command that never reached the SCSI core: RFC 7143, 11.4.7.2, in fixed format
/// (SPC-4, 4.5.3).
/// </summary>
internal sealed class IscsiSense
{
    /// <summary>ABORTED COMMAND, PROTOCOL SERVICE CRC ERROR: a Data-Out PDU failed its data digest.</summary>
    public static readonly IscsiSense DataDigestError = new(0x0B, 0x47, 0x05);

    /// <summary>ABORTED COMMAND, WRITE ERROR - UNEXPECTED UNSOLICITED DATA.</summary>
    public static readonly IscsiSense UnexpectedUnsolicitedData = new(0x0B, 0x0C, 0x0C);

    /// <summary>ILLEGAL REQUEST, INVALID FIELD IN CDB: the transfer is longer than is taken, or an AHS is not understood.</summary>
    public static readonly IscsiSense InvalidFieldInCdb = new(0x05, 0x24, 0x00);

    /// <summary>ILLEGAL REQUEST, INVALID COMMAND OPERATION CODE: no command transfers data both ways.</summary>
    public static readonly IscsiSense BidirectionalNotSupported = new(0x05, 0x20, 0x00);

    private const byte FixedCurrent = 0x70;
    private const byte AdditionalBytes = 10;
    private const int FixedBytes = 8 + AdditionalBytes;

    private readonly byte[] bytes = new byte[FixedBytes];

    private IscsiSense(byte key, byte code, byte qualifier)
    {
        bytes[0] = FixedCurrent;
        bytes[2] = key;
        bytes[7] = AdditionalBytes;
        bytes[12] = code;
        bytes[13] = qualifier;
    }

    public static ScsiStatus Status => ScsiStatus.CheckCondition;

    public ReadOnlySpan<byte> Bytes => bytes;
}
