using System.Diagnostics.CodeAnalysis;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// Setting `target/config`: what belongs to no single target. Where it is absent the store has not been configured: it then has one
/// target with all disks, on the default portal, for everyone.
/// </summary>
/// <remarks>
/// Valid if and only if: version is 1; next_target is 1 to 65536; there are 1 to <see cref="PortalsMax"/> portals, each HOST:PORT as it
/// is printed, with a port, and none twice; discovery is valid.
/// </remarks>
internal sealed record ConfigRecord
{
    public const string Key = "target/config";
    public const int CurrentVersion = 1;

    /// <summary>Each costs a socket.</summary>
    public const int PortalsMax = 64;

    public required int Version { get; init; }

    /// <summary>Number of the next target that is made; numbers are not given twice.</summary>
    public required int NextTarget { get; init; }

    /// <summary>Where a server listens, as HOST:PORT, in the order in which they were added.</summary>
    public required IReadOnlyList<string> Portals { get; init; }

    /// <summary>Who may ask which targets there are.</summary>
    public required AccessRules Discovery { get; init; }

    public byte[] Write() => RecordJson.Write(this, RecordContext.Default.ConfigRecord);

    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out ConfigRecord? record, [NotNullWhen(false)] out string? error)
    {
        if (!RecordJson.TryRead(bytes, RecordContext.Default.ConfigRecord, out record, out error))
            return false;
        error = record.Explain();
        return error is null;
    }

    public string? Explain()
    {
        if (Version != CurrentVersion)
            return $"version {Version} is not {CurrentVersion}";
        if (NextTarget is < 1 or > TargetRecord.NumberMax + 1)
            return $"next_target {NextTarget} is not 1 to {TargetRecord.NumberMax + 1}";
        if (Portals.Count is 0 or > PortalsMax)
            return $"there are 1 to {PortalsMax} portals, not {Portals.Count}";
        foreach (var portal in Portals)
        {
            if (!Portal.TryParse(portal ?? "", out var parsed, out var error))
                return error;
            if (parsed.ToString() != portal || parsed.Port == 0)
                return $"portal '{portal}' is not written as HOST:PORT with a port";
        }

        return Portals.Distinct(StringComparer.Ordinal).Count() != Portals.Count ? "a portal is there twice" : Discovery.Explain();
    }
}
