using CowScsi.Scsi;
using CowScsi.Tcmu.Ring;

namespace CowScsi.Tcmu.Devices;

/// <summary>Sense data for a command that never reached the SCSI core, in fixed format (SPC-5, 4.4.3).</summary>
internal static class RingSense
{
    private const byte FixedCurrent = 0x70;
    private const byte AdditionalBytes = 10;
    private const byte IllegalRequest = 0x05;
    private const byte HardwareError = 0x04;

    private static readonly byte[] InvalidOperationCode = Fixed(IllegalRequest, 0x20);
    private static readonly byte[] InvalidFieldInCdb = Fixed(IllegalRequest, 0x24);
    private static readonly byte[] TargetFailure = Fixed(HardwareError, 0x44);

    public static ScsiStatus Status => ScsiStatus.CheckCondition;

    /// <summary>INTERNAL TARGET FAILURE: the device failed in a way that no outcome stands for.</summary>
    public static ReadOnlySpan<byte> InternalTargetFailure => TargetFailure;

    public static ReadOnlySpan<byte> Of(RingRefusal refusal) => refusal switch
    {
        RingRefusal.Bidirectional or RingRefusal.CdbTooLong => InvalidOperationCode,
        RingRefusal.ProtectionData or RingRefusal.TooManyVectors => InvalidFieldInCdb,
        _ => TargetFailure,
    };

    private static byte[] Fixed(byte key, byte code)
    {
        var bytes = new byte[8 + AdditionalBytes];
        bytes[0] = FixedCurrent;
        bytes[2] = key;
        bytes[7] = AdditionalBytes;
        bytes[12] = code;
        return bytes;
    }
}
