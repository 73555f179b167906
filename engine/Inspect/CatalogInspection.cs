using System.Buffers.Binary;

namespace CowScsi.Engine;

/// <summary>Shows catalog records, row by row.</summary>
internal static class CatalogInspection
{
    public static InspectedPart ShowRecord(string title, string path, long offset, byte[] record, bool withRows)
    {
        var valid = CatalogChange.TryApply(record, new Catalog(), out var fault);
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
                Notes = kind == RowKind.Segments ? [("segments", NumbersIn(body))] : [],
            });
            at += CatalogRow.HeadBytes + length;
        }

        return rows;
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
