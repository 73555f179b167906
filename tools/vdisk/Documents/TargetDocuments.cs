using CowScsi.Layers;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Documents;

/// <summary>Who may log in; empty lists are met by everyone. Secrets are in no document.</summary>
internal sealed record RulesDocument
{
    public required IReadOnlyList<string> Initiators { get; init; }

    public required IReadOnlyList<string> Networks { get; init; }

    /// <summary>Names of CHAP users.</summary>
    public required IReadOnlyList<string> Users { get; init; }

    /// <summary>The name that the target itself proves, or null.</summary>
    public string? Mutual { get; init; }
}

/// <summary>A number of a target.</summary>
internal sealed record LunDocument
{
    public required int Lun { get; init; }

    public required string Disk { get; init; }

    /// <summary>False where the number is only kept for the disk.</summary>
    public required bool Mapped { get; init; }

    public bool ReadOnly { get; init; }

    public bool Removable { get; init; }

    /// <summary>Where initiators find it; null while it is not served.</summary>
    public string? Url { get; init; }
}

/// <summary>Where logins are sent instead.</summary>
internal sealed record RedirectDocument(string To, bool Permanent);

/// <summary>A target.</summary>
internal sealed record TargetDocument
{
    public required string Name { get; init; }

    public string? Alias { get; init; }

    /// <summary>Whether disks that are made later are mapped too.</summary>
    public required bool AllDisks { get; init; }

    /// <summary>Target port group of its port.</summary>
    public required int PortGroup { get; init; }

    public required IReadOnlyList<LunDocument> Luns { get; init; }

    public required RulesDocument Rules { get; init; }

    public RedirectDocument? Redirect { get; init; }

    /// <summary>Initiators that are logged in.</summary>
    public int Sessions { get; init; }
}

/// <summary>A portal.</summary>
/// <param name="Portal">As it was given.</param>
/// <param name="Kept">Whether a server listens there unless it is told otherwise.</param>
/// <param name="Address">Where the running server listens for it; null where it does not.</param>
internal sealed record PortalDocument(string Portal, bool Kept, string? Address);

/// <summary>All that is offered to initiators.</summary>
internal sealed record TargetsDocument
{
    /// <summary>True where a running `vdisk serve` answered.</summary>
    public required bool Served { get; init; }

    public required IReadOnlyList<TargetDocument> Targets { get; init; }

    public required IReadOnlyList<PortalDocument> Portals { get; init; }

    /// <summary>Who may ask which targets there are.</summary>
    public required RulesDocument Discovery { get; init; }
}

/// <summary>An initiator that is logged in.</summary>
internal sealed record SessionDocument
{
    /// <summary>Null in a discovery session.</summary>
    public string? Target { get; init; }

    public required string Initiator { get; init; }

    /// <summary>The CHAP user that it proved, or null.</summary>
    public string? User { get; init; }

    /// <summary>Its end of each connection.</summary>
    public required IReadOnlyList<string> Addresses { get; init; }

    public required DateTimeOffset Since { get; init; }
}

internal sealed record TargetAnswer(TargetDocument Target) : Envelope;

internal sealed record TargetsAnswer(TargetsDocument Targets) : Envelope;

internal sealed record SessionsAnswer(IReadOnlyList<SessionDocument> Sessions) : Envelope;

/// <summary>The users of a target, or of discovery sessions.</summary>
internal sealed record UsersAnswer(string Target, IReadOnlyList<string> Users, string? Mutual) : Envelope;

internal sealed record PortalsAnswer(IReadOnlyList<PortalDocument> Portals) : Envelope;

/// <summary>The rules of discovery sessions.</summary>
internal sealed record RulesAnswer(string Target, RulesDocument Rules) : Envelope;

/// <summary>Turns a configuration into documents.</summary>
internal static class TargetDocumentsOf
{
    /// <param name="urlOf">The address of a LUN that can be reached, else null.</param>
    /// <param name="sessionsOf">How many initiators are logged in to a target.</param>
    /// <param name="live">What is listened on.</param>
    public static TargetsDocument Store(
        TargetConfiguration configuration,
        IReadOnlyList<DiskInfo> disks,
        bool isServer,
        Func<ConfiguredTarget, int, string?> urlOf,
        Func<string, int> sessionsOf,
        IReadOnlyList<PortalDocument> live)
    {
        var names = disks.ToDictionary(disk => disk.Id, disk => disk.Name);
        var kept = configuration.Config.Portals;
        return new TargetsDocument
        {
            Served = isServer,
            Targets = [.. configuration.Targets.Select(target => Target(target, names, urlOf, sessionsOf))],
            Portals =
            [
                .. kept.Select(portal => new PortalDocument(portal, Kept: true, live.FirstOrDefault(known => known.Portal == portal)?.Address)),
                .. live.Where(portal => !kept.Contains(portal.Portal, StringComparer.Ordinal)),
            ],
            Discovery = Rules(configuration.Config.Discovery),
        };
    }

    private static TargetDocument Target(
        ConfiguredTarget target, Dictionary<Guid, string> names, Func<ConfiguredTarget, int, string?> urlOf, Func<string, int> sessionsOf) => new()
    {
        Name = target.Name,
        Alias = target.Record.Alias.Length == 0 ? null : target.Record.Alias,
        AllDisks = target.Record.AllDisks,
        PortGroup = target.Record.PortGroupId,
        // A disk that is gone between two looks is gone from here as well.
        Luns = [.. target.Luns.Where(lun => names.ContainsKey(lun.Value.Disk)).Select(lun => new LunDocument
        {
            Lun = lun.Key,
            Disk = names[lun.Value.Disk],
            Mapped = lun.Value.Mapped,
            ReadOnly = lun.Value.ReadOnly,
            Removable = lun.Value.Removable,
            Url = lun.Value.Mapped ? urlOf(target, lun.Key) : null,
        })],
        Rules = Rules(target.Record.Access),
        Redirect = target.Record.Redirect is { } redirect ? new RedirectDocument(redirect.To, redirect.Permanent) : null,
        Sessions = sessionsOf(target.Name),
    };

    private static RulesDocument Rules(AccessRules rules) => new()
    {
        Initiators = rules.Initiators,
        Networks = rules.Networks,
        Users = [.. rules.Users.Select(user => user.Name)],
        Mutual = rules.Mutual?.Name,
    };
}
