using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

/// <summary>
/// What a new disk is to be, as a command line or a control client asks for it. The fields are settable because the generated reader
/// would give init-only ones that a request leaves out no value, instead of the default stated here.
/// </summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record DiskRequest
{
    public required string Name { get; init; }

    /// <summary>Zero takes the base image's size; in an import, what is read decides.</summary>
    public long SizeBytes { get; set; }

    public int BlockBytes { get; set; } = 512;

    public BaseDocument? Base { get; set; }

    public string Compression { get; set; } = CodecNames.None;

    public string Encryption { get; set; } = CodecNames.None;
}

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record ResizeRequest(long SizeBytes, bool Shrink);

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record SnapshotRequest(string Name);

[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record CloneRequest(string Name);
