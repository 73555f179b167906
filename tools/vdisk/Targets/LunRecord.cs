using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// Setting `target/N/lun/M`: what number M of target N is. It stays when the disk is unmapped, so that the disk finds its number again,
/// and goes with the disk.
/// </summary>
/// <remarks>
/// Valid if and only if: version is 1; N is the number of a target and M is 0 to 16383, both in decimal without leading zeros; no other
/// number of the target has this disk. A disk that does not exist makes the record mean nothing.
/// </remarks>
internal sealed record LunRecord
{
    public const int CurrentVersion = 1;

    public required int Version { get; init; }

    /// <summary>The disk's UUID: another disk of the same name is another disk.</summary>
    public required Guid Disk { get; init; }

    /// <summary>False where the number is kept for the disk and nothing is there.</summary>
    public required bool Mapped { get; init; }

    public required bool ReadOnly { get; init; }

    public required bool Removable { get; init; }

    public static string KeyOf(int target, int lun) => string.Create(CultureInfo.InvariantCulture, $"target/{target}/lun/{lun}");

    public static LunRecord Of(Guid disk) =>
        new() { Version = CurrentVersion, Disk = disk, Mapped = true, ReadOnly = false, Removable = false };

    public byte[] Write() => RecordJson.Write(this, RecordContext.Default.LunRecord);

    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out LunRecord? record, [NotNullWhen(false)] out string? error)
    {
        if (!RecordJson.TryRead(bytes, RecordContext.Default.LunRecord, out record, out error))
            return false;
        error = record.Version == CurrentVersion ? null : $"version {record.Version} is not {CurrentVersion}";
        return error is null;
    }
}
