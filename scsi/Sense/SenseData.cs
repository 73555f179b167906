using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// Where a sense code points: the INFORMATION field (an LBA or a byte offset) and the field pointer of an ILLEGAL REQUEST.
/// </summary>
internal readonly struct SenseDetail
{
    /// <summary>In place of a bit number: the whole byte is to blame (BPV is zero).</summary>
    public const int WholeByte = -1;

    private SenseDetail(
        bool hasInformation, ulong information, bool hasField, bool isInCdb, int fieldByte, int fieldBit, bool isProgress = false)
    {
        IsProgress = isProgress;
        HasInformation = hasInformation;
        Information = information;
        HasField = hasField;
        IsFieldInCdb = isInCdb;
        FieldByte = fieldByte;
        FieldBit = fieldBit;
    }

    public bool HasInformation { get; }

    public ulong Information { get; }

    /// <summary>Whether there are sense-key specific bytes: a field pointer, or progress.</summary>
    public bool HasField { get; }

    /// <summary>The sense-key specific bytes are a progress indication, in <see cref="FieldByte"/>.</summary>
    public bool IsProgress { get; }

    public bool IsFieldInCdb { get; }

    public int FieldByte { get; }

    public int FieldBit { get; }

    public static SenseDetail AtLba(ulong lba) => new(true, lba, false, false, 0, WholeByte);

    /// <summary>Byte of the data where a comparison failed.</summary>
    public static SenseDetail AtByte(long offsetBytes) => new(true, (ulong)offsetBytes, false, false, 0, WholeByte);

    /// <summary>How much of a long operation is done, of 65,536 (SPC-5, 4.5.2.4.4).</summary>
    public static SenseDetail AtProgress(ushort progress) => new(false, 0, true, false, progress, WholeByte, isProgress: true);

    /// <summary>Byte of the CDB and, unless <see cref="WholeByte"/>, the most significant bit that is wrong.</summary>
    public static SenseDetail InCdb(int fieldByte, int fieldBit) => new(false, 0, true, true, fieldByte, fieldBit);

    /// <summary>Byte of the parameter list and, unless <see cref="WholeByte"/>, the most significant bit that is wrong.</summary>
    public static SenseDetail InParameterList(int fieldByte, int fieldBit) => new(false, 0, true, false, fieldByte, fieldBit);
}

/// <summary>
/// Sense data as bytes, fixed format (SPC-5, 4.5.3) or descriptor format (4.5.2), always for a current error.
/// </summary>
/// <remarks>
/// Fixed: 70h (bit 7: INFORMATION valid) | 0 | key | information, 4 | length 10 | 0, 4 | asc | ascq | 0 | sense-key specific, 3.
/// Descriptor: 72h | key | asc | ascq | 0, 3 | length | descriptors: information (00h, 12 bytes), sense-key specific (02h, 8 bytes).
/// </remarks>
internal static class SenseData
{
    public const int FixedBytes = 18;

    /// <summary>Header and both descriptors: the longest sense data that is ever written.</summary>
    public const int BytesMax = HeaderBytes + InformationBytes + SenseKeySpecificBytes;

    private const byte FixedCurrent = 0x70;
    private const byte DescriptorCurrent = 0x72;
    private const byte InformationValid = 0x80;
    private const byte SenseKeySpecificValid = 0x80;
    private const byte CommandData = 0x40;
    private const byte BitPointerValid = 0x08;
    private const int HeaderBytes = 8;
    private const int InformationBytes = 12;
    private const int SenseKeySpecificBytes = 8;

    /// <summary>Writes sense data and returns its length.</summary>
    public static int Write(Span<byte> destination, bool asDescriptors, SenseCode code, SenseDetail detail = default) =>
        asDescriptors ? WriteDescriptors(destination, code, detail) : WriteFixed(destination, code, detail);

    private static int WriteFixed(Span<byte> destination, SenseCode code, SenseDetail detail)
    {
        destination = destination[..FixedBytes];
        destination.Clear();
        destination[0] = FixedCurrent;

        // An INFORMATION value of more than 32 bits has no place in fixed format: VALID stays zero (SBC-4, 4.18.1).
        if (detail.HasInformation && detail.Information <= uint.MaxValue)
        {
            destination[0] |= InformationValid;
            BinaryPrimitives.WriteUInt32BigEndian(destination[3..], (uint)detail.Information);
        }

        destination[2] = (byte)code.Key;
        destination[7] = FixedBytes - 8;
        destination[12] = code.Asc;
        destination[13] = code.Ascq;
        if (detail.HasField)
            WriteField(destination[15..], detail);
        return FixedBytes;
    }

    private static int WriteDescriptors(Span<byte> destination, SenseCode code, SenseDetail detail)
    {
        destination = destination[..BytesMax];
        destination.Clear();
        destination[0] = DescriptorCurrent;
        destination[1] = (byte)code.Key;
        destination[2] = code.Asc;
        destination[3] = code.Ascq;
        var length = HeaderBytes;
        if (detail.HasInformation)
        {
            var part = destination[length..];
            part[0] = 0x00;
            part[1] = InformationBytes - 2;
            part[2] = InformationValid;
            BinaryPrimitives.WriteUInt64BigEndian(part[4..], detail.Information);
            length += InformationBytes;
        }

        if (detail.HasField)
        {
            var part = destination[length..];
            part[0] = 0x02;
            part[1] = SenseKeySpecificBytes - 2;
            WriteField(part[4..], detail);
            length += SenseKeySpecificBytes;
        }

        destination[7] = (byte)(length - HeaderBytes);
        return length;
    }

    /// <summary>The field pointer, SPC-5 4.5.2.4.2, or the progress indication, 4.5.2.4.4, which has no flags but SKSV.</summary>
    private static void WriteField(Span<byte> destination, SenseDetail detail)
    {
        destination[0] = SenseKeySpecificValid;
        if (detail.IsFieldInCdb)
            destination[0] |= CommandData;
        if (detail.FieldBit != SenseDetail.WholeByte)
            destination[0] |= (byte)(BitPointerValid | detail.FieldBit);
        BinaryPrimitives.WriteUInt16BigEndian(destination[1..], (ushort)detail.FieldByte);
    }
}
