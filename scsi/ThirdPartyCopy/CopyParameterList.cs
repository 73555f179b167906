using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Scsi;

/// <summary>
/// The parameter list of EXTENDED COPY with a list identifier of one byte (LID1; SPC-4, 6.4.2) or of four (LID4; 6.5.2), checked as a whole
/// before anything is carried out.
/// </summary>
/// <remarks>
/// <para>LID1: list identifier | STR in bit 5, LIST ID USAGE in bits 4 and 3, PRIORITY | length of the CSCD descriptors, 2 | reserved, 4 |
/// length of the segment descriptors, 4 | length of the inline data, 4 | CSCD descriptors | segment descriptors.</para>
/// <para>LID4: format, 01h | as above | length of the header's CSCD descriptors, 0020h, 2 | reserved, 11 | IMMED in bit 0, G_SENSE in bit 1 |
/// type of the header, FFh | reserved, 3 | list identifier, 4 | reserved, 18 | length of the CSCD descriptors, 2 | of the segment descriptors,
/// 2 | of the inline data, 2 | CSCD descriptors | segment descriptors.</para>
/// <para>PRIORITY orders the copies of one initiator, STR is about tapes: neither changes what is done here.</para>
/// </remarks>
internal sealed class CopyParameterList
{
    public const int Lid1HeaderBytes = 16;
    public const int Lid4HeaderBytes = 48;

    private const int UsageShift = 3;
    private const int UsageMask = 0x03;
    private const int UsageHighBit = 4;
    private const int UsageHold = 0;
    private const int UsageDiscard = 2;
    private const int UsageNone = 3;
    private const byte ListFormat = 0x01;
    private const byte HeaderType = 0xFF;
    private const byte ImmediateBit = 0x01;
    private const byte SenseWithGoodBit = 0x02;
    private const int Lid4FlagsField = 15;
    private const int Lid4IdField = 20;

    private CopyParameterList(CscdDescriptor[] devices, SegmentDescriptor[] segments, Header header)
    {
        Devices = devices;
        Segments = segments;
        ListId = header.ListId;
        HasListId = header.Usage != UsageNone;
        IsForgottenOnSuccess = header.Usage == UsageDiscard;
        IsImmediate = header.IsImmediate;
    }

    public CscdDescriptor[] Devices { get; }

    public SegmentDescriptor[] Segments { get; }

    public uint ListId { get; }

    public bool HasListId { get; }

    public bool IsForgottenOnSuccess { get; }

    public bool IsImmediate { get; }

    /// <summary>Reads a list; where it is wrong, ends the command and answers false.</summary>
    public static bool TryRead(ScsiCommand command, byte[] bytes, bool isLid4, [NotNullWhen(true)] out CopyParameterList? list)
    {
        list = null;
        if (bytes.Length < (isLid4 ? Lid4HeaderBytes : Lid1HeaderBytes))
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        if (!(isLid4 ? TryReadHeader4(command, bytes, out var header) : TryReadHeader1(command, bytes, out header)) ||
            !TryCheckLengths(command, bytes, header) ||
            !TryReadDevices(command, bytes, header, out var devices) ||
            !TryReadSegments(command, bytes, header, out var segments))
        {
            return false;
        }

        list = new CopyParameterList(devices, segments, header);
        return true;
    }

    private static bool TryReadHeader1(ScsiCommand command, ReadOnlySpan<byte> bytes, out Header header)
    {
        header = new Header(
            Lid1HeaderBytes,
            bytes[0],
            (bytes[1] >> UsageShift) & UsageMask,
            IsImmediate: false,
            BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]),
            BinaryPrimitives.ReadUInt32BigEndian(bytes[8..]),
            BinaryPrimitives.ReadUInt32BigEndian(bytes[12..]),
            DevicesField: 2);
        return TryCheckUsage(command, header, listIdField: 0);
    }

    private static bool TryReadHeader4(ScsiCommand command, ReadOnlySpan<byte> bytes, out Header header)
    {
        header = new Header(
            Lid4HeaderBytes,
            BinaryPrimitives.ReadUInt32BigEndian(bytes[Lid4IdField..]),
            (bytes[1] >> UsageShift) & UsageMask,
            (bytes[Lid4FlagsField] & ImmediateBit) != 0,
            BinaryPrimitives.ReadUInt16BigEndian(bytes[42..]),
            BinaryPrimitives.ReadUInt16BigEndian(bytes[44..]),
            BinaryPrimitives.ReadUInt16BigEndian(bytes[46..]),
            DevicesField: 42);
        if (bytes[0] != ListFormat)
            return Refuse(command, 0);
        if (BinaryPrimitives.ReadUInt16BigEndian(bytes[2..]) != CscdDescriptor.Bytes)
            return Refuse(command, 2);
        if (bytes[16] != HeaderType)
            return Refuse(command, 16);

        // Transports carry no sense data with GOOD status.
        if ((bytes[Lid4FlagsField] & SenseWithGoodBit) != 0)
            return Refuse(command, Lid4FlagsField, int.Log2(SenseWithGoodBit));
        if (header is { IsImmediate: true, Usage: UsageNone })
            return Refuse(command, Lid4FlagsField, int.Log2(ImmediateBit));
        return TryCheckUsage(command, header, Lid4IdField);
    }

    private static bool TryCheckUsage(ScsiCommand command, Header header, int listIdField)
    {
        if (header.Usage is not (UsageHold or UsageDiscard or UsageNone))
            return Refuse(command, 1, UsageHighBit);
        return header is not { Usage: UsageNone, ListId: not 0 } || Refuse(command, listIdField);
    }

    private static bool TryCheckLengths(ScsiCommand command, ReadOnlySpan<byte> bytes, Header header)
    {
        var descriptors = header.DeviceBytes + (long)header.SegmentBytes;
        if (descriptors > CopyLimits.DescriptorListBytesMax)
            command.Fail(SenseCodes.ParameterListLengthError);
        else if (header.DeviceBytes > CopyLimits.CscdDescriptorsMax * CscdDescriptor.Bytes)
            command.Fail(SenseCodes.TooManyTargetDescriptors, SenseDetail.InParameterList(header.DevicesField, SenseDetail.WholeByte));
        else if (header.InlineBytes > 0)
            command.Fail(SenseCodes.InlineDataLengthExceeded);
        else if (header.HeaderBytes + descriptors > bytes.Length)
            command.Fail(SenseCodes.ParameterListLengthError);
        else if (header.DeviceBytes % CscdDescriptor.Bytes != 0)
            command.FailParameter(header.DevicesField);
        else
            return true;
        return false;
    }

    private static bool TryReadDevices(
        ScsiCommand command, byte[] bytes, Header header, [NotNullWhen(true)] out CscdDescriptor[]? devices)
    {
        devices = new CscdDescriptor[header.DeviceBytes / CscdDescriptor.Bytes];
        for (var i = 0; i < devices.Length; i++)
        {
            var at = header.HeaderBytes + (i * CscdDescriptor.Bytes);
            if (bytes[at] != CscdDescriptor.TypeCode)
            {
                command.Fail(SenseCodes.UnsupportedTargetDescriptorTypeCode, SenseDetail.InParameterList(at, SenseDetail.WholeByte));
                return false;
            }

            if (!CscdDescriptor.TryRead(bytes.AsMemory(at, CscdDescriptor.Bytes), out devices[i], out var wrongByte))
                return Refuse(command, at + wrongByte);
        }

        return true;
    }

    private static bool TryReadSegments(
        ScsiCommand command, ReadOnlySpan<byte> bytes, Header header, [NotNullWhen(true)] out SegmentDescriptor[]? segments)
    {
        segments = null;
        var found = new List<SegmentDescriptor>();
        var at = header.HeaderBytes + header.DeviceBytes;
        var end = at + (int)header.SegmentBytes;
        while (at < end)
        {
            if (found.Count == CopyLimits.SegmentDescriptorsMax)
            {
                command.Fail(SenseCodes.TooManySegmentDescriptors, SenseDetail.InParameterList(at, SenseDetail.WholeByte));
                return false;
            }

            if (SegmentDescriptor.LengthOf(bytes[at]) == 0)
            {
                command.Fail(SenseCodes.UnsupportedSegmentDescriptorTypeCode, SenseDetail.InParameterList(at, SenseDetail.WholeByte));
                return false;
            }

            if (!SegmentDescriptor.TryRead(bytes[at..end], out var segment, out var wrongByte))
                return Refuse(command, at + wrongByte);
            found.Add(segment);
            at += SegmentDescriptor.LengthOf(bytes[at]);
        }

        segments = [.. found];
        return true;
    }

    private static bool Refuse(ScsiCommand command, int fieldByte, int fieldBit = SenseDetail.WholeByte)
    {
        command.FailParameter(fieldByte, fieldBit);
        return false;
    }

    private readonly record struct Header(
        int HeaderBytes, uint ListId, int Usage, bool IsImmediate, int DeviceBytes, uint SegmentBytes, uint InlineBytes, int DevicesField);
}
