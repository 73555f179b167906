using System.Buffers.Binary;
using System.Runtime.CompilerServices;

namespace CowScsi.Scsi;

/// <summary>
/// MODE SELECT of 6 and 10 bytes (SPC-5, 6.12 and 6.13). The list is copied once and checked as a whole; only then the parameters change,
/// and with SP all of them are saved. It runs alone in the task set, so that two of them are saved in the order in which they took effect.
/// </summary>
internal static class ModeSelectCommand
{
    private const byte ModeSelect6 = 0x15;
    private const byte PageFormatBit = 0x10;
    private const int PageFormatBitNumber = 4;
    private const byte SavePagesBit = 0x01;
    private const int SavePagesBitNumber = 0;
    private const int MediumTypeShort = 1;
    private const int MediumTypeLong = 2;
    private const byte PageCodeMask = 0x3F;

    /// <summary>Longest list that is taken: every page there is, with header and descriptor, several times over.</summary>
    private const int ListBytesMax = 1024;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var isShort = command.Cdb[0] == ModeSelect6;
        var listBytes = isShort ? command.Cdb[4] : BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[7..]);
        command.TransferLengthWanted = listBytes;
        var saves = (command.Cdb[1] & SavePagesBit) != 0;
        if (saves && itl.Unit.Options.Memory is null)
        {
            command.FailCdb(1, SavePagesBitNumber);
            return default;
        }

        if (listBytes == 0)
            return default;
        if (listBytes > ListBytesMax || command.DataOut.Length < listBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return default;
        }

        if ((command.Cdb[1] & PageFormatBit) == 0)
        {
            // Without PF the pages have a vendor's own format, and there is none.
            command.FailCdb(1, PageFormatBitNumber);
            return default;
        }

        Span<byte> list = stackalloc byte[ListBytesMax];
        list = list[..command.DataOut.CopyTo(list[..listBytes])];
        return TryRead(itl.Unit, command, list, isShort, out var wanted) ? ApplyAsync(itl, command, wanted, saves) : default;
    }

    /// <summary>
    /// Makes the parameters current, and saves them where that is asked for. Turning the write cache off makes durable what it holds before
    /// the command ends.
    /// </summary>
    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask ApplyAsync(ItlNexus itl, ScsiCommand command, ModeParameters wanted, bool saves)
    {
        var unit = itl.Unit;
        var wasCached = unit.Mode.IsWriteCacheEnabled;
        unit.SetMode(itl, wanted);
        if (wasCached && !wanted.IsWriteCacheEnabled)
            TransferCommands.Finish(await unit.Device.FlushAsync(), command, unit.Device.Geometry);
        if (saves && command.Status == ScsiStatus.Good && !await unit.SaveModeAsync(wanted))
            command.Fail(SenseCodes.InternalTargetFailure);
    }

    private static bool TryRead(LogicalUnit unit, ScsiCommand command, ReadOnlySpan<byte> list, bool isShort, out ModeParameters wanted)
    {
        wanted = unit.Mode;
        if (!TryReadHeader(unit, command, list, isShort, out var at))
            return false;

        while (at < list.Length)
        {
            var rest = list[at..];
            var isSubpage = (rest[0] & ModePages.SubpageFormatBit) != 0;
            if (isSubpage && rest.Length < 4)
            {
                command.Fail(SenseCodes.ParameterListLengthError);
                return false;
            }

            var page = ModePages.Find(rest[0] & PageCodeMask, isSubpage ? rest[1] : 0, unit.Device.Geometry);
            if (page is null || isSubpage != (page.Subcode != 0))
            {
                command.FailParameter(at);
                return false;
            }

            if (!TryReadPage(unit, command, rest, at, page, ref wanted))
                return false;
            at += page.Length;
        }

        return true;
    }

    /// <summary>Checks header and block descriptor; <paramref name="pagesAt"/> is where the pages start.</summary>
    private static bool TryReadHeader(LogicalUnit unit, ScsiCommand command, ReadOnlySpan<byte> list, bool isShort, out int pagesAt)
    {
        pagesAt = isShort ? ModeHeader.ShortBytes : ModeHeader.LongBytes;
        if (list.Length < pagesAt)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        // MODE DATA LENGTH and the device-specific parameter are reserved here (SPC-5, 7.5.5), and initiators send back what they read.
        var mediumTypeField = isShort ? MediumTypeShort : MediumTypeLong;
        if (list[mediumTypeField] != 0)
        {
            command.FailParameter(mediumTypeField);
            return false;
        }

        var isLongLba = !isShort && (list[4] & ModeHeader.LongLbaBit) != 0;
        var lengthField = isShort ? 3 : 6;
        var descriptorBytes = isShort ? list[lengthField] : BinaryPrimitives.ReadUInt16BigEndian(list[lengthField..]);
        if (descriptorBytes == 0)
            return true;
        if (descriptorBytes != (isLongLba ? ModeHeader.LongDescriptorBytes : ModeHeader.ShortDescriptorBytes))
        {
            command.FailParameter(lengthField);
            return false;
        }

        if (list.Length < pagesAt + descriptorBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        if (!ModeHeader.IsDescriptorUnchanged(list.Slice(pagesAt, descriptorBytes), unit.Device.Geometry))
        {
            command.FailParameter(pagesAt);
            return false;
        }

        pagesAt += descriptorBytes;
        return true;
    }

    /// <summary>Checks one page: its length, and that no bit differs from the present one that cannot be changed.</summary>
    private static bool TryReadPage(
        LogicalUnit unit, ScsiCommand command, ReadOnlySpan<byte> rest, int at, ModePage page, ref ModeParameters wanted)
    {
        Span<byte> present = stackalloc byte[ModePages.PageBytesMax];
        Span<byte> changeable = stackalloc byte[ModePages.PageBytesMax];
        page.WriteValues(present, unit.Mode, unit.Device.Geometry);
        page.WriteChangeable(changeable, unit.Device.Geometry);

        for (var i = 1; i < page.HeaderBytes && i < rest.Length; i++)
        {
            if (rest[i] == present[i])
                continue;
            command.FailParameter(at + i);
            return false;
        }

        if (rest.Length < page.Length)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        for (var i = page.HeaderBytes; i < page.Length; i++)
        {
            var wrong = (rest[i] ^ present[i]) & ~changeable[i];
            if (wrong == 0)
                continue;
            command.FailParameter(at + i, int.Log2(wrong));
            return false;
        }

        wanted = page.Read(rest[..page.Length], wanted);
        return true;
    }
}
