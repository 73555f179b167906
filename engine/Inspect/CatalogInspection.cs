using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>
/// Shows catalog records, row by row. Settings whose keys have a '/' are of those above the store, and may be secrets: their values are
/// shown as zeros, in fields as in bytes. A record that does not fall into rows is shown as it is, from where it does not.
/// </summary>
internal static class CatalogInspection
{
    public static InspectedPart ShowRecord(string title, string path, long offset, byte[] stored, bool withRows)
    {
        var valid = CatalogChange.TryApply(stored, new Catalog(), out var fault);
        var record = (byte[])stored.Clone();
        HideSettings(record);
        return new InspectedPart(title, path, offset, record.Length, valid ? null : fault)
        {
            Fields = CatalogRecord.Layout.Show(record.AsSpan(0, Math.Min(record.Length, CatalogRecord.HeaderBytes))),
            Parts = withRows ? RowsOf(path, offset, record) : [],
            Bytes = record,
        };
    }

    /// <summary>As many rows as can be told apart.</summary>
    private static List<InspectedPart> RowsOf(string path, long offset, byte[] record)
    {
        var rows = new List<InspectedPart>();
        for (var at = CatalogRecord.HeaderBytes; record.Length - at >= CatalogRow.HeadBytes;)
        {
            var head = record.AsSpan(at);
            var length = BinaryPrimitives.ReadUInt16LittleEndian(head[CatalogRow.BodyBytesAt..]);
            if (length > head.Length - CatalogRow.HeadBytes)
                break;
            var body = head.Slice(CatalogRow.HeadBytes, length);
            var (kind, action) = ((RowKind)head[CatalogRow.KindAt], (RowAction)head[CatalogRow.ActionAt]);
            rows.Add(new InspectedPart($"{action.ToString().ToLowerInvariant()} {kind.ToString().ToLowerInvariant()}", path, offset + at, CatalogRow.HeadBytes + length, null)
            {
                Fields = LayoutOf(kind, action)?.Show(body) ?? [],
                Notes = kind == RowKind.Segments ? [("segments", NumbersIn(body))]
                    : kind == RowKind.Setting && !HiddenIn(body).IsEmpty ? [("hidden", "the value, which may be a secret, is shown as zeros")]
                    : [],
            });
            at += CatalogRow.HeadBytes + length;
        }

        return rows;
    }

    /// <summary>Zeroes the values of settings that are not the store's own in a copy of a record.</summary>
    public static void HideSettings(Span<byte> record)
    {
        for (var at = CatalogRecord.HeaderBytes; record.Length - at >= CatalogRow.HeadBytes;)
        {
            var head = record[at..];
            var length = BinaryPrimitives.ReadUInt16LittleEndian(head[CatalogRow.BodyBytesAt..]);
            if (length > head.Length - CatalogRow.HeadBytes)
                return;
            if ((RowKind)head[CatalogRow.KindAt] == RowKind.Setting)
                HiddenIn(head.Slice(CatalogRow.HeadBytes, length)).Clear();
            at += CatalogRow.HeadBytes + length;
        }
    }

    /// <summary>The part of a setting's body that is not shown.</summary>
    private static Span<byte> HiddenIn(Span<byte> body)
    {
        if (body.Length < SettingBody.FixedBytes)
            return default;
        var keyBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[SettingBody.KeyBytesAt..]);
        var rest = body[SettingBody.FixedBytes..];
        return keyBytes <= rest.Length && rest[..keyBytes].Contains((byte)'/') ? rest[keyBytes..] : default;
    }

    private static StoredLayout? LayoutOf(RowKind kind, RowAction action) => kind switch
    {
        RowKind.Setting => SettingBody.Layout,
        RowKind.Segments => null,
        _ when action == RowAction.Remove => RemovalBody.Layout,
        RowKind.Layer => LayerBody.Layout,
        RowKind.Disk => DiskBody.Layout,
        RowKind.Snapshot => SnapshotBody.Layout,
        _ => null,
    };

    private static string NumbersIn(ReadOnlySpan<byte> body)
    {
        var numbers = new List<uint>();
        for (var i = 0; i + SegmentsBody.NumberBytes <= body.Length; i += SegmentsBody.NumberBytes)
            numbers.Add(BinaryPrimitives.ReadUInt32LittleEndian(body[i..]));
        return string.Join(' ', numbers);
    }
}
