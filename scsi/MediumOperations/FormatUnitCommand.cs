using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// FORMAT UNIT (SBC-4, 5.4). Every block is deallocated and reads as zeros, or holds the initialization pattern. There are no defects, so a
/// list must be empty; and there is nothing to certify, so what the option bits leave out is left out anyway.
/// </summary>
internal static class FormatUnitCommand
{
    private const byte LongListBit = 0x20;
    private const byte FormatDataBit = 0x10;
    private const int ShortHeaderBytes = 4;
    private const int LongHeaderBytes = 8;
    private const byte FormatOptionsValidBit = 0x80;
    private const byte OptionBits = 0x78; // DPRY, DCRT, STPF and IP: only with FOV.
    private const byte PatternBit = 0x08;
    private const byte ImmediateBit = 0x02;
    private const int PatternHeaderBytes = 4;
    private const byte RepeatedPattern = 0x01;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var isImmediate = false;
        ReadOnlyMemory<byte> pattern = default;
        if ((command.Cdb[1] & FormatDataBit) != 0)
        {
            // No field tells the list's length; what is looked at is bounded by its own fields.
            var list = new byte[(int)Math.Min(command.DataOut.Length, LongHeaderBytes + PatternHeaderBytes + ErasureState.PatternBytesMax)];
            command.TransferLengthWanted = list.Length;
            command.DataOut.CopyTo(list);
            if (!TryRead(command, list, itl.Unit.Device.Geometry.LogicalBlockBytes, out isImmediate, out pattern))
                return default;
        }

        return itl.Unit.EraseAsync(command, new ErasureState(ErasureKind.Format, ErasurePhase.Running, AllowsExit: false, pattern), isImmediate);
    }

    private static bool TryRead(ScsiCommand command, byte[] list, int blockBytes, out bool isImmediate, out ReadOnlyMemory<byte> pattern)
    {
        isImmediate = false;
        pattern = default;
        var isLong = (command.Cdb[1] & LongListBit) != 0;
        var headerBytes = isLong ? LongHeaderBytes : ShortHeaderBytes;
        if (list.Length < headerBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        var options = list[1];
        var wrong = -1;
        if (list[0] != 0)
            wrong = 0; // PROTECTION FIELD USAGE: there is no protection information.
        else if ((options & ~(FormatOptionsValidBit | OptionBits | ImmediateBit)) != 0 || ((options & FormatOptionsValidBit) == 0 && (options & OptionBits) != 0))
            wrong = 1;
        else if (isLong && (list[2] | list[3]) != 0)
            wrong = 3;
        else if ((isLong ? BinaryPrimitives.ReadUInt32BigEndian(list.AsSpan(4)) : BinaryPrimitives.ReadUInt16BigEndian(list.AsSpan(2))) != 0)
            wrong = isLong ? 4 : 2;
        if (wrong >= 0)
        {
            command.FailParameter(wrong);
            return false;
        }

        isImmediate = (options & ImmediateBit) != 0;
        return (options & PatternBit) == 0 || TryReadPattern(command, list, headerBytes, blockBytes, out pattern);
    }

    /// <summary>The initialization pattern descriptor: SI, bit 5 | type: default or repeated | length (2) | pattern.</summary>
    private static bool TryReadPattern(ScsiCommand command, byte[] list, int at, int blockBytes, out ReadOnlyMemory<byte> pattern)
    {
        pattern = default;
        if (list.Length < at + PatternHeaderBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        var length = BinaryPrimitives.ReadUInt16BigEndian(list.AsSpan(at + 2));
        var wrong = -1;
        if (list[at] != 0)
            wrong = at; // SI asks that each place was written over, which a log never does.
        else if (list[at + 1] > RepeatedPattern)
            wrong = at + 1;
        else if (list[at + 1] == RepeatedPattern ? length == 0 || length > blockBytes : length != 0)
            wrong = at + 2;
        if (wrong >= 0)
        {
            command.FailParameter(wrong);
            return false;
        }

        if (list.Length < at + PatternHeaderBytes + length)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        pattern = list.AsMemory(at + PatternHeaderBytes, length);
        return true;
    }
}
