using System.Buffers.Binary;

namespace CowScsi.Iscsi.Pdu;

// Basic Header Segment, RFC 7143, 11.2.1. All numbers big-endian.
//
//  byte  0       .I opcode (6 bits)      I = immediate delivery
//        1-3     opcode-specific flags and fields
//        4       TotalAHSLength          in 4-byte words
//        5-7     DataSegmentLength       in bytes, without padding
//        8-15    LUN, or ISID (6) and TSIH (2) in login PDUs
//       16-19    Initiator Task Tag
//       20-47    opcode-specific; the names below say which PDU has which field where
//
// Then: AHS, header digest, data segment, padding to 4 bytes, data digest.

/// <summary>Where the fields of the 48 header bytes lie, and what the flag bits are.</summary>
internal static class PduField
{
    public const int HeaderBytes = 48;
    public const int DigestBytes = 4;
    public const int PaddingUnitBytes = 4;

    /// <summary>TotalAHSLength counts up to 255 words.</summary>
    public const int AhsBytesMax = 255 * 4;

    /// <summary>The tag that stands for "none" in ITT, TTT and referenced tags.</summary>
    public const uint NoTag = 0xFFFF_FFFF;

    public const byte ImmediateBit = 0x40;
    public const byte OpcodeMask = 0x3F;
    public const byte FinalBit = 0x80;
    public const byte ContinueBit = 0x40;

    public const byte CommandReadBit = 0x40;
    public const byte CommandWriteBit = 0x20;
    public const byte CommandAttributeMask = 0x07;

    public const byte ResidualOverflowBit = 0x04;
    public const byte ResidualUnderflowBit = 0x02;
    public const byte DataInStatusBit = 0x01;

    public const byte LoginTransitBit = 0x80;

    public const int Flags = 1;
    public const int Byte2 = 2;
    public const int Byte3 = 3;
    public const int Lun = 8;
    public const int Isid = 8;
    public const int Tsih = 14;
    public const int InitiatorTaskTag = 16;
    public const int TargetTransferTag = 20;
    public const int ExpectedDataTransferLength = 20;
    public const int ReferencedTaskTag = 20;
    public const int ConnectionId = 20;
    public const int CmdSN = 24;
    public const int StatSN = 24;
    public const int ExpStatSN = 28;
    public const int ExpCmdSN = 28;
    public const int MaxCmdSN = 32;
    public const int Cdb = 32;
    public const int CdbBytes = 16;
    public const int RefCmdSN = 32;
    public const int DataSN = 36;
    public const int LoginStatus = 36;
    public const int AsyncEvent = 36;
    public const int AsyncParameter1 = 38;
    public const int AsyncParameter2 = 40;
    public const int AsyncParameter3 = 42;
    public const int BufferOffset = 40;
    public const int Time2Wait = 40;
    public const int Time2Retain = 42;
    public const int ResidualCount = 44;
    public const int DesiredDataTransferLength = 44;

    public static int Padding(int dataBytes) => -dataBytes & (PaddingUnitBytes - 1);
}

/// <summary>Reads the fields of a basic header segment.</summary>
internal readonly ref struct PduHeader
{
    private readonly ReadOnlySpan<byte> bytes;

    public PduHeader(ReadOnlySpan<byte> bytes) => this.bytes = bytes[..PduField.HeaderBytes];

    public ReadOnlySpan<byte> Bytes => bytes;

    public Opcode Opcode => (Opcode)(bytes[0] & PduField.OpcodeMask);

    public bool IsImmediate => (bytes[0] & PduField.ImmediateBit) != 0;

    public byte Flags => bytes[PduField.Flags];

    public bool IsFinal => (Flags & PduField.FinalBit) != 0;

    public bool IsContinued => (Flags & PduField.ContinueBit) != 0;

    public int AhsBytes => bytes[4] * 4;

    public int DataBytes => (bytes[5] << 16) | (bytes[6] << 8) | bytes[7];

    public ulong Lun => BinaryPrimitives.ReadUInt64BigEndian(bytes[PduField.Lun..]);

    public uint InitiatorTaskTag => UInt32(PduField.InitiatorTaskTag);

    public uint TargetTransferTag => UInt32(PduField.TargetTransferTag);

    public uint ExpectedDataTransferLength => UInt32(PduField.ExpectedDataTransferLength);

    public uint ReferencedTaskTag => UInt32(PduField.ReferencedTaskTag);

    public ushort ConnectionId => UInt16(PduField.ConnectionId);

    public uint CmdSN => UInt32(PduField.CmdSN);

    public uint ExpStatSN => UInt32(PduField.ExpStatSN);

    public uint DataSN => UInt32(PduField.DataSN);

    public uint BufferOffset => UInt32(PduField.BufferOffset);

    public ReadOnlySpan<byte> Cdb => bytes.Slice(PduField.Cdb, PduField.CdbBytes);

    public ushort Tsih => UInt16(PduField.Tsih);

    /// <summary>The six ISID bytes as a number.</summary>
    public ulong Isid => BinaryPrimitives.ReadUInt64BigEndian(bytes[PduField.Isid..]) >> 16;

    public byte Byte2 => bytes[PduField.Byte2];

    public byte Byte3 => bytes[PduField.Byte3];

    public uint UInt32(int offset) => BinaryPrimitives.ReadUInt32BigEndian(bytes[offset..]);

    public ushort UInt16(int offset) => BinaryPrimitives.ReadUInt16BigEndian(bytes[offset..]);
}

/// <summary>Writes the fields of a basic header segment; starts from zeros.</summary>
internal readonly ref struct PduHeaderWriter
{
    private readonly Span<byte> bytes;

    public PduHeaderWriter(Span<byte> bytes, Opcode opcode, byte flags, uint initiatorTaskTag)
    {
        this.bytes = bytes[..PduField.HeaderBytes];
        this.bytes.Clear();
        this.bytes[0] = (byte)opcode;
        this.bytes[PduField.Flags] = flags;
        UInt32(PduField.InitiatorTaskTag, initiatorTaskTag);
    }

    public void DataBytes(int value)
    {
        bytes[5] = (byte)(value >> 16);
        bytes[6] = (byte)(value >> 8);
        bytes[7] = (byte)value;
    }

    public void Lun(ulong value) => BinaryPrimitives.WriteUInt64BigEndian(bytes[PduField.Lun..], value);

    public void Byte(int offset, byte value) => bytes[offset] = value;

    public void UInt16(int offset, ushort value) => BinaryPrimitives.WriteUInt16BigEndian(bytes[offset..], value);

    public void UInt32(int offset, uint value) => BinaryPrimitives.WriteUInt32BigEndian(bytes[offset..], value);

    public void Sequence(uint statSN, uint expCmdSN, uint maxCmdSN)
    {
        UInt32(PduField.StatSN, statSN);
        UInt32(PduField.ExpCmdSN, expCmdSN);
        UInt32(PduField.MaxCmdSN, maxCmdSN);
    }
}
