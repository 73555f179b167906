using System.Diagnostics.CodeAnalysis;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Targets;

/// <summary>
/// Setting `unit/ID/attachment`: how the kernel has a disk, for the server that brings it back when the machine was started anew. It is there
/// from attach to detach, and goes with the disk.
/// </summary>
/// <remarks>Valid if and only if version is 1. What the other members say is checked where it is carried out, as in a request.</remarks>
internal sealed record AttachmentRecord
{
    public const int CurrentVersion = 1;

    private const string Name = "attachment";

    public required int Version { get; init; }

    public required string Fabric { get; init; }

    public required bool ReadOnly { get; init; }

    /// <summary>HOST:PORT of the kernel's iSCSI target; null for the default.</summary>
    public required string? Portal { get; init; }

    public required IReadOnlyList<string> Initiators { get; init; }

    public required int RingMebibytes { get; init; }

    public required int DataMebibytes { get; init; }

    public required int TransferBytes { get; init; }

    public required int TimeoutSeconds { get; init; }

    public required bool NetlinkReplies { get; init; }

    public static AttachmentRecord Of(AttachRequest request) => new()
    {
        Version = CurrentVersion,
        Fabric = request.Fabric,
        ReadOnly = request.ReadOnly,
        Portal = request.Portal,
        Initiators = request.Initiators,
        RingMebibytes = request.RingMebibytes,
        DataMebibytes = request.DataMebibytes,
        TransferBytes = request.TransferBytes,
        TimeoutSeconds = request.TimeoutSeconds,
        NetlinkReplies = request.NetlinkReplies,
    };

    public AttachRequest ToRequest() => new()
    {
        Fabric = Fabric,
        ReadOnly = ReadOnly,
        Portal = Portal,
        Initiators = Initiators,
        RingMebibytes = RingMebibytes,
        DataMebibytes = DataMebibytes,
        TransferBytes = TransferBytes,
        TimeoutSeconds = TimeoutSeconds,
        NetlinkReplies = NetlinkReplies,
    };

    /// <summary>Whether a disk has a record, valid or not.</summary>
    public static bool IsThere(DiskStore store, Guid disk) => store.FindSetting(KeyOf(disk)) is not null;

    /// <summary>The record of a disk; null with an error where it cannot be read, null without one where there is none.</summary>
    public static AttachmentRecord? Find(DiskStore store, Guid disk, out string? error)
    {
        error = null;
        return store.FindSetting(KeyOf(disk)) is { } value && TryRead(value.Span, out var record, out error) ? record : null;
    }

    /// <summary>Keeps a record, durable when this returns; null forgets it.</summary>
    public static void Keep(DiskStore store, Guid disk, AttachmentRecord? record)
    {
        var present = store.FindSetting(KeyOf(disk));
        if (record is null)
        {
            if (present is not null)
                store.ChangeSettings([new SettingChange(KeyOf(disk), null)]);
            return;
        }

        var value = RecordJson.Write(record, RecordContext.Default.AttachmentRecord);
        if (present is not { } same || !same.Span.SequenceEqual(value))
            store.ChangeSettings([new SettingChange(KeyOf(disk), value)]);
    }

    internal static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out AttachmentRecord? record, [NotNullWhen(false)] out string? error)
    {
        if (!RecordJson.TryRead(bytes, RecordContext.Default.AttachmentRecord, out record, out error))
            return false;
        error = record.Version == CurrentVersion ? null : $"version {record.Version} is not {CurrentVersion}";
        return error is null;
    }

    private static string KeyOf(Guid disk) => DiskStore.UnitSettingsOf(disk) + Name;
}
