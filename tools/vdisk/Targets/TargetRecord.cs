using System.Diagnostics.CodeAnalysis;
using System.Net;
using System.Text.Json.Serialization;
using CowScsi.Iscsi;
using CowScsi.Scsi;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Targets;

/// <summary>Where logins to a target are sent instead.</summary>
/// <param name="To">HOST:PORT, as it is printed.</param>
/// <param name="Permanent">Whether initiators may remember it.</param>
internal sealed record RedirectRule(string To, bool Permanent)
{
    /// <summary>Null where initiators can be told it, else what is wrong.</summary>
    public string? Explain()
    {
        if (!Portal.TryParse(To, out var to, out _) || to.Port == 0 || to.ToString() != To)
            return "redirect is not to HOST:PORT";
        try
        {
            _ = ToIscsi();
            return null;
        }
        catch (ArgumentException)
        {
            return $"initiators cannot be sent to '{To}': give an address or a host's name";
        }
    }

    public IscsiRedirection ToIscsi() => Portal.TryParse(To, out var to, out var error)
        ? new IscsiRedirection(IPAddress.TryParse(to.Host, out var address) ? new IPEndPoint(address, to.Port) : new DnsEndPoint(to.Host, to.Port), Permanent)
        : throw new ArgumentException(error);
}

/// <summary>
/// Setting `target/N`: a target. N is its number, 1 to 65535, in decimal without leading zeros; it is the relative identifier of the
/// target's port, and no other target of the store ever gets it.
/// </summary>
/// <remarks>
/// Valid if and only if: version is 1; name is an iSCSI name in lower case that no other target has; alias has its length; next_lun is 0 to
/// 16384; access is valid; redirect, where there is one, names a host and a port that is not 0.
/// </remarks>
internal sealed record TargetRecord
{
    public const int CurrentVersion = 1;
    public const int NumberMax = ushort.MaxValue;

    public required int Version { get; init; }

    public required string Name { get; init; }

    /// <summary>What initiators may show beside the name; empty for none.</summary>
    public required string Alias { get; init; }

    /// <summary>Whether disks that are made later are mapped too.</summary>
    public required bool AllDisks { get; init; }

    /// <summary>The number that the next disk gets unless it is told another; below it are those that were given before.</summary>
    public required int NextLun { get; init; }

    public required AccessRules Access { get; init; }

    public required RedirectRule? Redirect { get; init; }

    /// <summary>Target port group of the target's port; null, and not written, for the first one.</summary>
    [JsonIgnore(Condition = JsonIgnoreCondition.WhenWritingNull)]
    public int? PortGroup { get; init; }

    [JsonIgnore]
    public ushort PortGroupId => (ushort)(PortGroup ?? ScsiTarget.DefaultPortGroupId);

    public static string KeyOf(int number) => string.Create(System.Globalization.CultureInfo.InvariantCulture, $"target/{number}");

    public byte[] Write() => RecordJson.Write(this, RecordContext.Default.TargetRecord);

    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out TargetRecord? record, [NotNullWhen(false)] out string? error)
    {
        if (!RecordJson.TryRead(bytes, RecordContext.Default.TargetRecord, out record, out error))
            return false;
        error = record.Explain();
        return error is null;
    }

    public string? Explain()
    {
        if (Version != CurrentVersion)
            return $"version {Version} is not {CurrentVersion}";
        if ((TargetName.Explain(Name) ?? TargetName.ExplainAlias(Alias)) is { } problem)
            return problem;
        if (NextLun is < 0 or > ScsiLun.Count)
            return $"next_lun {NextLun} is not 0 to {ScsiLun.Count}";
        if (PortGroup is < 1 or > ushort.MaxValue)
            return $"port group {PortGroup} is not 1 to {ushort.MaxValue}";
        return Redirect?.Explain() ?? Access.Explain();
    }
}
