using System.Text.Json.Serialization;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Documents;

/// <summary>Readers and writers of the documents, made at compile time: a command that prints JSON starts as fast as any other.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    WriteIndented = false,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    DefaultIgnoreCondition = JsonIgnoreCondition.Never)]
[JsonSerializable(typeof(StoreAnswer))]
[JsonSerializable(typeof(DiskAnswer))]
[JsonSerializable(typeof(DisksAnswer))]
[JsonSerializable(typeof(SnapshotAnswer))]
[JsonSerializable(typeof(SnapshotsAnswer))]
[JsonSerializable(typeof(DeletedAnswer))]
[JsonSerializable(typeof(ExportAnswer))]
[JsonSerializable(typeof(CheckAnswer))]
[JsonSerializable(typeof(InspectAnswer))]
[JsonSerializable(typeof(ScrubAnswer))]
[JsonSerializable(typeof(ScrubRequest))]
[JsonSerializable(typeof(AttachRequest))]
[JsonSerializable(typeof(AttachmentAnswer))]
[JsonSerializable(typeof(DetachedAnswer))]
[JsonSerializable(typeof(DoctorAnswer))]
[JsonSerializable(typeof(VhostSocketRequest))]
[JsonSerializable(typeof(VhostSocketAnswer))]
[JsonSerializable(typeof(VhostSocketsAnswer))]
[JsonSerializable(typeof(VhostRemovedAnswer))]
[JsonSerializable(typeof(TargetAnswer))]
[JsonSerializable(typeof(TargetsAnswer))]
[JsonSerializable(typeof(SessionsAnswer))]
[JsonSerializable(typeof(UsersAnswer))]
[JsonSerializable(typeof(PortalsAnswer))]
[JsonSerializable(typeof(RulesAnswer))]
[JsonSerializable(typeof(TargetChange))]
[JsonSerializable(typeof(TreeAnswer))]
[JsonSerializable(typeof(ServedAnswer))]
[JsonSerializable(typeof(ErrorAnswer))]
[JsonSerializable(typeof(CheckLine))]
[JsonSerializable(typeof(DiffLine))]
[JsonSerializable(typeof(DiffRunDocument))]
[JsonSerializable(typeof(DiskRequest))]
[JsonSerializable(typeof(ResizeRequest))]
[JsonSerializable(typeof(SnapshotRequest))]
[JsonSerializable(typeof(CloneRequest))]
internal sealed partial class DocumentContext : JsonSerializerContext
{
}
