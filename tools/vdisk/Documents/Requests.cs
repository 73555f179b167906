using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

/// <summary>What a new disk is to be, as a command line or a control client asks for it.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record DiskRequest
{
    public required string Name { get; init; }

    /// <summary>Zero takes the base image's size; in an import, what is read decides.</summary>
    public long SizeBytes { get; init; }

    public int BlockBytes { get; init; } = 512;

    public BaseDocument? Base { get; init; }

    public string Compression { get; init; } = CodecNames.None;

    public string Encryption { get; init; } = CodecNames.None;
}

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record ResizeRequest(long SizeBytes, bool Shrink);

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record SnapshotRequest(string Name);

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record CloneRequest(string Name);
