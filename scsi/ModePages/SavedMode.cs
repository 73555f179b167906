using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>
/// The saved mode parameters as a logical unit's memory keeps them (MODE SELECT with SP), 12 bytes, little-endian.
/// </summary>
/// <remarks>
/// <para>version (1, at 0): 1 | flags (1, at 1): WCE 1, SWP 2, D_SENSE 4, LBPERE 8, available threshold enabled 16, used threshold enabled
/// 32 | 0 (2) | available threshold count (4, at 4) | used threshold count (4, at 8).</para>
/// <para>Valid if and only if: 1. the length is 12; 2. the version is 1; 3. no other flag is set, and bytes 2 and 3 are zero. The memory
/// replaces a value as a whole, so none is torn. One that is not valid counts as not there: the defaults hold.</para>
/// </remarks>
internal static class SavedMode
{
    /// <summary>The value's name in the memory.</summary>
    public const string Name = "mode";

    public const int Bytes = 12;

    private const byte Version = 1;
    private const byte WriteCache = 1;
    private const byte SoftwareWriteProtect = 2;
    private const byte DescriptorSense = 4;
    private const byte ReportsThresholds = 8;
    private const byte AvailableEnabled = 16;
    private const byte UsedEnabled = 32;
    private const byte Known = WriteCache | SoftwareWriteProtect | DescriptorSense | ReportsThresholds | AvailableEnabled | UsedEnabled;
    private const int VersionAt = 0;
    private const int FlagsAt = 1;
    private const int ZeroAt = 2;
    private const int AvailableAt = 4;
    private const int UsedAt = 8;

    public static void Write(Span<byte> value, ModeParameters mode)
    {
        value = value[..Bytes];
        value.Clear();
        value[VersionAt] = Version;
        value[FlagsAt] = (byte)(
            (mode.IsWriteCacheEnabled ? WriteCache : 0) |
            (mode.IsSoftwareWriteProtected ? SoftwareWriteProtect : 0) |
            (mode.UsesDescriptorSense ? DescriptorSense : 0) |
            (mode.ReportsThresholds ? ReportsThresholds : 0) |
            (mode.Available.IsEnabled ? AvailableEnabled : 0) |
            (mode.Used.IsEnabled ? UsedEnabled : 0));
        BinaryPrimitives.WriteUInt32LittleEndian(value[AvailableAt..], mode.Available.Count);
        BinaryPrimitives.WriteUInt32LittleEndian(value[UsedAt..], mode.Used.Count);
    }

    /// <summary>Reads a value; null where it is not valid.</summary>
    public static ModeParameters? Read(ReadOnlySpan<byte> value)
    {
        if (value.Length != Bytes || value[VersionAt] != Version || (value[FlagsAt] & ~Known) != 0 || value[ZeroAt] != 0 || value[ZeroAt + 1] != 0)
            return null;
        var flags = value[FlagsAt];
        return new ModeParameters((flags & WriteCache) != 0, (flags & SoftwareWriteProtect) != 0, (flags & DescriptorSense) != 0)
        {
            ReportsThresholds = (flags & ReportsThresholds) != 0,
            Available = new Threshold((flags & AvailableEnabled) != 0, BinaryPrimitives.ReadUInt32LittleEndian(value[AvailableAt..])),
            Used = new Threshold((flags & UsedEnabled) != 0, BinaryPrimitives.ReadUInt32LittleEndian(value[UsedAt..])),
        };
    }
}
