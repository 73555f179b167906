using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// One change of what is offered to initiators, as a command asks for it and the control socket carries it. Names of targets may be short
/// (<see cref="TargetConfiguration.Find"/>); in changes of rules <see cref="Discovery"/> stands for discovery sessions.
/// </summary>
[JsonPolymorphic(TypeDiscriminatorPropertyName = "change", UnknownDerivedTypeHandling = JsonUnknownDerivedTypeHandling.FailSerialization)]
[JsonDerivedType(typeof(CreateTarget), "create")]
[JsonDerivedType(typeof(DeleteTarget), "delete")]
[JsonDerivedType(typeof(MapDisk), "map")]
[JsonDerivedType(typeof(UnmapDisk), "unmap")]
[JsonDerivedType(typeof(AllowInitiators), "allow")]
[JsonDerivedType(typeof(DenyInitiators), "deny")]
[JsonDerivedType(typeof(PutUser), "put_user")]
[JsonDerivedType(typeof(RemoveUser), "remove_user")]
[JsonDerivedType(typeof(AddPortal), "add_portal")]
[JsonDerivedType(typeof(RemovePortal), "remove_portal")]
[JsonDerivedType(typeof(RedirectTarget), "redirect")]
[JsonDerivedType(typeof(ResetTargets), "reset")]
internal abstract record TargetChange
{
    /// <summary>Where a target's name is wanted: the rules of discovery sessions.</summary>
    public const string Discovery = "discovery";
}

/// <param name="PortGroup">Target port group of its port, 1 to 65535; null for the first one.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record CreateTarget(string Name, string Alias, bool AllDisks, int? PortGroup = null) : TargetChange;

/// <param name="Force">Also while initiators are logged in to it.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record DeleteTarget(string Target, bool Force) : TargetChange;

/// <param name="Lun">The number; null for the one the disk had, or the next.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record MapDisk(string Target, string Disk, int? Lun, bool ReadOnly, bool Removable) : TargetChange;

/// <param name="Force">Also while initiators are logged in to the target.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record UnmapDisk(string Target, string Disk, bool Force) : TargetChange;

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record AllowInitiators(string Target, IReadOnlyList<string> Initiators, IReadOnlyList<string> Networks) : TargetChange;

/// <param name="Force">Also where a list becomes empty, which lets everyone in.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record DenyInitiators(string Target, IReadOnlyList<string> Initiators, IReadOnlyList<string> Networks, bool Force) : TargetChange;

/// <param name="Mutual">The target's own name and secret, instead of an initiator's.</param>
/// <param name="Force">Takes a secret below 12 bytes.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record PutUser(string Target, string User, string Secret, bool Mutual, bool Force) : TargetChange
{
    /// <summary>Without the secret.</summary>
    public override string ToString() => $"{nameof(PutUser)} {Target} {User}";
}

/// <param name="Mutual">The target's own, instead of an initiator's.</param>
/// <param name="Force">Also where it is the last user, so that nobody need prove anything any more.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record RemoveUser(string Target, string User, bool Mutual, bool Force) : TargetChange;

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record AddPortal(string Portal) : TargetChange;

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record RemovePortal(string Portal) : TargetChange;

/// <param name="To">HOST:PORT; null serves the target here again.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record RedirectTarget(string Target, string? To, bool Permanent) : TargetChange;

/// <summary>Everything as in a new store, also where it could not be read.</summary>
/// <param name="Force">Also while initiators are logged in.</param>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record ResetTargets(bool Force) : TargetChange;
