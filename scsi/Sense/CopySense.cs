using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// Why a third-party copy ended early: what COPY ABORTED sense data says of it (SPC-4, 5.17.7.4 and 6.4.3).
/// </summary>
/// <param name="Code">Sense key, usually COPY ABORTED, and additional sense code.</param>
/// <param name="Segment">Index of the segment descriptor that was being carried out.</param>
internal sealed record CopyFault(SenseCode Code, int Segment)
{
    /// <summary>In place of <see cref="SegmentField"/>: no byte of the descriptor is to blame.</summary>
    public const int NoField = -1;

    /// <summary>Byte of the segment descriptor that is to blame.</summary>
    public int SegmentField { get; init; } = NoField;

    /// <summary>The device to blame is the copy destination, not the copy source; of meaning only with a status.</summary>
    public bool IsDestination { get; init; }

    /// <summary>What that device answered; GOOD where it answered nothing.</summary>
    public ScsiStatus Status { get; init; }

    /// <summary>The sense data that came with it.</summary>
    public byte[] Sense { get; init; } = [];
}

/// <summary>
/// The sense data of a third-party copy that ended early: which segment, which field of it, and what the device concerned had answered.
/// </summary>
/// <remarks>
/// Fixed format: COMMAND-SPECIFIC INFORMATION is the offset of what the copy source answered (1) | of what the destination answered (1) |
/// segment number (2); at that offset stand the status byte and its sense data. Descriptor format: command-specific information (01h),
/// sense-key specific (02h), forwarded sense data (0Ch). The field pointer is that of a segment (SD is one).
/// </remarks>
internal static class CopySense
{
    /// <summary>Sense data of a device that is passed on: all that a device here answers.</summary>
    public const int ForwardedBytesMax = SenseData.BytesMax;

    /// <summary>The longer of the two formats.</summary>
    public const int BytesMax = HeaderBytes + CommandSpecificBytes + SenseKeySpecificBytes + ForwardedHeaderBytes + ForwardedBytesMax;

    private const int HeaderBytes = 8;
    private const int CommandSpecificBytes = 12;
    private const int SenseKeySpecificBytes = 8;
    private const int ForwardedHeaderBytes = 4;
    private const byte FixedCurrent = 0x70;
    private const byte DescriptorCurrent = 0x72;
    private const byte FieldInSegment = 0xA0;
    private const byte FromSource = 0x01;
    private const byte FromDestination = 0x02;

    /// <summary>Writes sense data and returns its length.</summary>
    public static int Write(Span<byte> destination, bool asDescriptors, CopyFault fault) =>
        asDescriptors ? WriteDescriptors(destination, fault) : WriteFixed(destination, fault);

    private static int WriteFixed(Span<byte> destination, CopyFault fault)
    {
        destination = destination[..BytesMax];
        destination.Clear();
        var length = SenseData.FixedBytes;
        destination[0] = FixedCurrent;
        destination[2] = (byte)fault.Code.Key;
        BinaryPrimitives.WriteUInt16BigEndian(destination[10..], (ushort)fault.Segment);
        destination[12] = fault.Code.Asc;
        destination[13] = fault.Code.Ascq;
        WriteField(destination[15..], fault);
        if (fault.Status != ScsiStatus.Good)
        {
            var forwarded = Forwarded(fault);
            destination[fault.IsDestination ? 9 : 8] = (byte)length;
            destination[length++] = (byte)fault.Status;
            forwarded.CopyTo(destination[length..]);
            length += forwarded.Length;
        }

        destination[7] = (byte)(length - HeaderBytes);
        return length;
    }

    private static int WriteDescriptors(Span<byte> destination, CopyFault fault)
    {
        destination = destination[..BytesMax];
        destination.Clear();
        destination[0] = DescriptorCurrent;
        destination[1] = (byte)fault.Code.Key;
        destination[2] = fault.Code.Asc;
        destination[3] = fault.Code.Ascq;
        var part = destination[HeaderBytes..];
        part[0] = 0x01;
        part[1] = CommandSpecificBytes - 2;
        BinaryPrimitives.WriteUInt64BigEndian(part[4..], (ulong)fault.Segment);
        var length = HeaderBytes + CommandSpecificBytes;
        if (fault.SegmentField != CopyFault.NoField)
        {
            part = destination[length..];
            part[0] = 0x02;
            part[1] = SenseKeySpecificBytes - 2;
            WriteField(part[4..], fault);
            length += SenseKeySpecificBytes;
        }

        if (fault.Status != ScsiStatus.Good)
        {
            var forwarded = Forwarded(fault);
            part = destination[length..];
            part[0] = 0x0C;
            part[1] = (byte)(ForwardedHeaderBytes - 2 + forwarded.Length);
            part[2] = fault.IsDestination ? FromDestination : FromSource;
            part[3] = (byte)fault.Status;
            forwarded.CopyTo(part[ForwardedHeaderBytes..]);
            length += ForwardedHeaderBytes + forwarded.Length;
        }

        destination[7] = (byte)(length - HeaderBytes);
        return length;
    }

    /// <summary>Sense-key specific data of COPY ABORTED: a segment pointer, SPC-4 4.5.2.4.5.</summary>
    private static void WriteField(Span<byte> destination, CopyFault fault)
    {
        if (fault.SegmentField == CopyFault.NoField)
            return;
        destination[0] = FieldInSegment;
        BinaryPrimitives.WriteUInt16BigEndian(destination[1..], (ushort)fault.SegmentField);
    }

    private static ReadOnlySpan<byte> Forwarded(CopyFault fault) => fault.Sense.AsSpan(0, Math.Min(fault.Sense.Length, ForwardedBytesMax));
}
