using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// SANITIZE (SBC-4, 5.31 and 4.11): OVERWRITE, BLOCK ERASE, CRYPTOGRAPHIC ERASE and EXIT FAILURE MODE. What an erasure of a copy-on-write
/// disk means stands at <see cref="Erasure"/>.
/// </summary>
/// <remarks>
/// CRYPTOGRAPHIC ERASE is there while the device can replace its key; otherwise it is a service action that the logical unit does not have,
/// neither reported nor carried out. ZNR is for zoned devices.
/// </remarks>
internal static class SanitizeCommand
{
    private const byte ImmediateBit = 0x80;
    private const byte AllowsExitBit = 0x20;
    private const int LengthField = 7;
    private const int HeaderBytes = 4;
    private const byte InvertBit = 0x80;
    private const byte CountMask = 0x1F;
    private const int PatternLengthField = 2;

    public static ValueTask BlockErase(ItlNexus itl, ScsiCommand command) => EraseAsync(itl, command, ErasureKind.BlockErase);

    public static ValueTask CryptographicErase(ItlNexus itl, ScsiCommand command) => EraseAsync(itl, command, ErasureKind.CryptographicErase);

    /// <summary>Without a parameter list.</summary>
    private static ValueTask EraseAsync(ItlNexus itl, ScsiCommand command, ErasureKind kind)
    {
        if (BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]) != 0)
        {
            command.FailCdb(LengthField);
            return default;
        }

        return StartAsync(itl.Unit, command, kind, default);
    }

    /// <summary>
    /// Parameter list: INVERT (bit 7), TEST, OVERWRITE COUNT (5 bits) | reserved | pattern length (2) | pattern of 1 byte to one block.
    /// </summary>
    public static ValueTask Overwrite(ItlNexus itl, ScsiCommand command)
    {
        var blockBytes = itl.Unit.Device.Geometry.LogicalBlockBytes;
        var listBytes = BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]);
        command.TransferLengthWanted = listBytes;
        if (listBytes <= HeaderBytes || listBytes > HeaderBytes + blockBytes)
        {
            command.FailCdb(LengthField);
            return default;
        }

        if (command.DataOut.Length < listBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return default;
        }

        // The list is copied once, checked and used as a copy; a command that works through a whole disk may allocate.
        var list = new byte[listBytes];
        command.DataOut.CopyTo(list);
        var count = list[0] & CountMask;
        if ((list[0] & ~(InvertBit | CountMask)) != 0 || count == 0)
        {
            command.FailParameter(0);
            return default;
        }

        if (list[1] != 0)
        {
            command.FailParameter(1);
            return default;
        }

        var patternBytes = BinaryPrimitives.ReadUInt16BigEndian(list.AsSpan(PatternLengthField));
        if (patternBytes == 0 || patternBytes > listBytes - HeaderBytes)
        {
            command.FailParameter(PatternLengthField);
            return default;
        }

        // Each pass inverts what the one before wrote: what stays is the last one's.
        var pattern = list.AsMemory(HeaderBytes, patternBytes);
        if ((list[0] & InvertBit) != 0 && count % 2 == 0)
        {
            foreach (ref var part in pattern.Span)
                part = (byte)~part;
        }

        return StartAsync(itl.Unit, command, ErasureKind.Overwrite, pattern);
    }

    /// <summary>EXIT FAILURE MODE: good where there is no failure; refused where the failed command had not allowed it (SBC-4, 4.11.3).</summary>
    public static ValueTask ExitFailureMode(ItlNexus itl, ScsiCommand command)
    {
        if (BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]) != 0)
        {
            command.FailCdb(LengthField);
            return default;
        }

        return itl.Unit.FailedErasure is { } failed ? ExitAsync(itl.Unit, command, failed) : default;
    }

    private static async ValueTask ExitAsync(LogicalUnit unit, ScsiCommand command, ErasureState failed)
    {
        const int ServiceActionHighBit = 4;
        if (!failed.AllowsExit)
            command.FailCdb(1, ServiceActionHighBit);
        else if (!await unit.SaveErasureAsync(null))
            command.Fail(SenseCodes.InternalTargetFailure);
    }

    private static ValueTask StartAsync(LogicalUnit unit, ScsiCommand command, ErasureKind kind, ReadOnlyMemory<byte> pattern)
    {
        var state = new ErasureState(kind, ErasurePhase.Running, (command.Cdb[1] & AllowsExitBit) != 0, pattern);
        return unit.EraseAsync(command, state, isImmediate: (command.Cdb[1] & ImmediateBit) != 0);
    }
}
