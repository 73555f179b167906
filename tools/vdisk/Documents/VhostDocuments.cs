using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

/// <summary>A vhost-user socket that is to be made: with a disk a block device, otherwise a SCSI host.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record VhostSocketRequest
{
    /// <summary>Its full path.</summary>
    public required string Socket { get; init; }

    public string? Disk { get; set; }

    /// <summary>The one target that a SCSI host has; null for all.</summary>
    public string? Target { get; set; }

    /// <summary>The virtual machine monitor makes the socket.</summary>
    public bool Client { get; set; }
}

/// <summary>A vhost-user socket of a server.</summary>
/// <param name="Kind">"scsi" or "blk".</param>
/// <param name="Disk">The disk of a block device.</param>
/// <param name="SizeBytes">Its size.</param>
/// <param name="Target">The one target of a SCSI host; null where it has all.</param>
/// <param name="Client">The virtual machine monitor makes the socket.</param>
/// <param name="Connected">A virtual machine has it.</param>
internal sealed record VhostSocketDocument(string Socket, string Kind, string? Disk, long? SizeBytes, string? Target, bool Client, bool Connected)
{
    public const string Scsi = "scsi";
    public const string Blk = "blk";
}

internal sealed record VhostSocketAnswer(VhostSocketDocument VhostSocket) : Envelope;

internal sealed record VhostSocketsAnswer(IReadOnlyList<VhostSocketDocument> VhostSockets) : Envelope;

internal sealed record VhostRemovedAnswer(string Removed) : Envelope;
