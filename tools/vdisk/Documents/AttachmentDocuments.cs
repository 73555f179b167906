using System.Text.Json.Serialization;

namespace CowScsi.Vdisk.Documents;

/// <summary>How a disk is to be attached to the kernel. The fields are settable so that what a request leaves out has the default stated here.</summary>
[JsonUnmappedMemberHandling(JsonUnmappedMemberHandling.Disallow)]
internal sealed record AttachRequest
{
    /// <summary>"loopback", "vhost" or "iscsi".</summary>
    public required string Fabric { get; init; }

    public bool ReadOnly { get; set; }

    /// <summary>HOST:PORT where the kernel's iSCSI target listens; null for 127.0.0.1:3260.</summary>
    public string? Portal { get; set; }

    /// <summary>iSCSI names that may log in to the kernel's target; none for all.</summary>
    public IReadOnlyList<string> Initiators { get; set; } = [];

    public int RingMebibytes { get; set; } = Tcmu.TcmuOptions.Default.RingMebibytes;

    public int DataMebibytes { get; set; } = Tcmu.TcmuOptions.Default.DataAreaMebibytes;

    public int TransferBytes { get; set; } = Tcmu.TcmuOptions.Default.TransferBytesMax;

    public int TimeoutSeconds { get; set; } = Tcmu.TcmuOptions.Default.CommandTimeoutSeconds;

    /// <summary>Whether who changes the disk in configfs waits for our answer.</summary>
    public bool NetlinkReplies { get; set; }

    /// <summary>True where the attachment is not to come back after the machine was started anew.</summary>
    public bool Temporary { get; set; }
}

/// <summary>A disk that the kernel has.</summary>
/// <param name="Path">/dev/sdX; null for the other fabrics.</param>
/// <param name="Wwn">Name of the port on the fabric.</param>
/// <param name="QemuArguments">For the vhost fabric.</param>
internal sealed record AttachmentDocument(string Disk, string Fabric, string? Path, string? Wwn, string? QemuArguments);

internal sealed record AttachmentAnswer(AttachmentDocument Attachment) : Envelope;

internal sealed record DetachedAnswer(string Detached) : Envelope;

/// <summary>A device of ours that the kernel has, as `vdisk doctor` tells it.</summary>
internal sealed record KernelDeviceDocument(string Name, string Owner, IReadOnlyList<string> Fabrics, string? Path, bool Served, bool Removed);

internal sealed record DoctorAnswer(IReadOnlyList<string> Missing, IReadOnlyList<KernelDeviceDocument> Devices) : Envelope;
