using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace CowScsi.Scsi;

/// <summary>Whether a ROD token can still be used, and if not, why (SPC-4, 5.17.6.6).</summary>
internal enum RodTokenState : byte
{
    Valid = 1,

    /// <summary>What it represents has changed, or is gone.</summary>
    Revoked = 2,

    /// <summary>It was not used for longer than its inactivity timeout.</summary>
    Expired = 3,

    /// <summary>A WRITE USING TOKEN had its DEL_TKN bit set.</summary>
    Deleted = 4,
}

/// <summary>
/// A ROD token: a point in time copy, change vulnerable, of ranges of one logical unit (SPC-4, 5.17.6; SBC-4, 4.28.4). It holds no data: it
/// is good until something of what it represents is about to change. Whoever has all its bytes may read what it represents, so half of
/// them are random.
/// </summary>
/// <remarks>
/// ROD type, 4 | reserved, 2 | length of what follows, 01F8h, 2 | identifier, 8 | CSCD descriptor of the logical unit, 32 | bytes
/// represented, 16 | reserved, 32 | logical block length, 4 | reserved | physical block exponent | LBPME, LBPRZ and lowest aligned LBA, 2 |
/// reserved, 24 | name of the target device as a designation descriptor | random bytes, up to 512.
/// </remarks>
internal sealed class RodToken
{
    public const int Bytes = 512;
    public const int LengthValue = Bytes - 8;

    /// <summary>The part that REPORT ALL ROD TOKENS shows: nothing in it is secret.</summary>
    public const int ManagementBytes = 96;

    /// <summary>ROD type: point in time copy, default; the copy manager chooses.</summary>
    public const uint TypeDefault = 0x0080_0000;

    /// <summary>ROD type: point in time copy, change vulnerable.</summary>
    public const uint TypeChangeVulnerable = 0x0080_0001;

    /// <summary>ROD type: point in time copy, any.</summary>
    public const uint TypeAny = 0x0080_FFFF;

    /// <summary>ROD type: block device zero, a token that anybody can write down.</summary>
    public const uint TypeZero = 0xFFFF_0001;

    public const int IdentifierField = 8;

    private const int CreatorField = 16;
    private const int BytesRepresentedField = 56;
    private const int BlockLengthField = 96;
    private const int ExponentField = 101;
    private const int ProvisioningField = 102;
    private const int TargetNameField = 128;
    private const byte ProvisioningEnabledReadsZeros = 0xC0;
    private const byte CodeUtf8 = 0x03;
    private const byte TargetDeviceName = 0x28;

    private readonly byte[] bytes = new byte[Bytes];
    private volatile RodTokenState state = RodTokenState.Valid;
    private volatile LogicalUnit? unit;

    public RodToken(ItlNexus itl, ByteRange[] ranges, ulong identifier, long inactivityMilliseconds)
    {
        unit = itl.Unit;
        Creator = itl.Nexus.InitiatorDeviceName;
        Ranges = ranges;
        InactivityMilliseconds = inactivityMilliseconds;
        foreach (var range in ranges)
            LengthBytes += range.LengthBytes;
        Write(itl, identifier);
    }

    /// <summary>All of it, as the initiator gets it.</summary>
    public ReadOnlySpan<byte> Image => bytes;

    public ulong Identifier => BinaryPrimitives.ReadUInt64BigEndian(bytes.AsSpan(IdentifierField));

    /// <summary>Whose blocks it represents; null once it has ended, so that what is remembered of it keeps no disk in memory.</summary>
    public LogicalUnit? Unit => unit;

    /// <summary>Name of the initiator device that had it made.</summary>
    public string Creator { get; }

    /// <summary>What it represents, in this order.</summary>
    public ByteRange[] Ranges { get; }

    public long LengthBytes { get; }

    public long InactivityMilliseconds { get; }

    /// <summary>When it was last used; guarded by the table it is in.</summary>
    public long UsedMilliseconds { get; set; }

    /// <summary>Commands that are using it; guarded by the table it is in.</summary>
    public int UseCount { get; set; }

    public RodTokenState State => state;

    /// <summary>Ends its life; the first reason stays.</summary>
    public void End(RodTokenState reason)
    {
        if (state != RodTokenState.Valid)
            return;
        state = reason;
        unit = null;
    }

    /// <summary>Whether these are its bytes; tells nothing by the time it takes.</summary>
    public bool IsImage(ReadOnlySpan<byte> image) => CryptographicOperations.FixedTimeEquals(bytes, image);

    public bool Touches(long offsetBytes, long lengthBytes)
    {
        foreach (var range in Ranges)
        {
            if (range.Touches(offsetBytes, lengthBytes))
                return true;
        }

        return false;
    }

    private void Write(ItlNexus itl, ulong identifier)
    {
        var geometry = itl.Unit.Device.Geometry;
        BinaryPrimitives.WriteUInt32BigEndian(bytes, TypeChangeVulnerable);
        BinaryPrimitives.WriteUInt16BigEndian(bytes.AsSpan(6), LengthValue);
        BinaryPrimitives.WriteUInt64BigEndian(bytes.AsSpan(IdentifierField), identifier);
        CscdDescriptor.Write(bytes.AsSpan(CreatorField), itl.Unit);
        BinaryPrimitives.WriteInt64BigEndian(bytes.AsSpan(BytesRepresentedField), LengthBytes);
        BinaryPrimitives.WriteInt32BigEndian(bytes.AsSpan(BlockLengthField), geometry.LogicalBlockBytes);
        bytes[ExponentField] = (byte)int.Log2(geometry.PhysicalBlockBytes / geometry.LogicalBlockBytes);
        if (LogicalUnit.IsThin(geometry))
            bytes[ProvisioningField] = ProvisioningEnabledReadsZeros;

        var name = Encoding.UTF8.GetBytes(itl.Nexus.Target.DeviceName);
        var padded = (name.Length + 4) & ~3;
        bytes[TargetNameField] = CodeUtf8;
        bytes[TargetNameField + 1] = TargetDeviceName;
        bytes[TargetNameField + 3] = (byte)padded;
        name.CopyTo(bytes.AsSpan(TargetNameField + 4));
        RandomNumberGenerator.Fill(bytes.AsSpan(TargetNameField + 4 + padded));
    }
}

/// <summary>A run of bytes of a device.</summary>
internal readonly record struct ByteRange(long OffsetBytes, long LengthBytes)
{
    public bool Touches(long offsetBytes, long lengthBytes) =>
        lengthBytes > 0 && LengthBytes > 0 && offsetBytes < OffsetBytes + LengthBytes && OffsetBytes < offsetBytes + lengthBytes;
}
