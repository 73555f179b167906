using System.Diagnostics.CodeAnalysis;
using System.Text.Json;
using System.Text.Json.Serialization;
using System.Text.Json.Serialization.Metadata;

namespace CowScsi.Vdisk.Targets;

/// <summary>How records of targets and attachments are written and read: every member must be there, once, and no other may be.</summary>
[JsonSourceGenerationOptions(
    PropertyNamingPolicy = JsonKnownNamingPolicy.SnakeCaseLower,
    UnmappedMemberHandling = JsonUnmappedMemberHandling.Disallow,
    AllowDuplicateProperties = false,
    RespectNullableAnnotations = true,
    RespectRequiredConstructorParameters = true,
    MaxDepth = 8,
    WriteIndented = false)]
[JsonSerializable(typeof(ConfigRecord))]
[JsonSerializable(typeof(TargetRecord))]
[JsonSerializable(typeof(LunRecord))]
[JsonSerializable(typeof(AttachmentRecord))]
internal sealed partial class RecordContext : JsonSerializerContext
{
}

/// <summary>Reads and writes the JSON of one record. A store may come from elsewhere: whatever is wrong with its bytes is a refusal.</summary>
internal static class RecordJson
{
    public static byte[] Write<T>(T record, JsonTypeInfo<T> type) => JsonSerializer.SerializeToUtf8Bytes(record, type);

    public static bool TryRead<T>(ReadOnlySpan<byte> bytes, JsonTypeInfo<T> type, [NotNullWhen(true)] out T? record, [NotNullWhen(false)] out string? error)
        where T : class
    {
        record = null;
        error = "it is not a JSON object";
        try
        {
            record = JsonSerializer.Deserialize(bytes, type);
            return record is not null;
        }
        catch (JsonException fault)
        {
            // The text of the exception may quote the value, which may be a secret: only the place is told.
            error = $"it is not valid JSON of its kind, at {(string.IsNullOrEmpty(fault.Path) ? "$" : Text.DiskAddress.Printable(fault.Path))}, byte {fault.BytePositionInLine ?? 0}";
            return false;
        }
    }
}
