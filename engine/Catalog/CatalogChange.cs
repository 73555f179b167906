using System.Buffers.Binary;
using System.Text;

namespace CowScsi.Engine;

/// <summary>
/// Rows to put into and take out of the catalog in one step: the payload of a catalog record. docs/format.md, "Catalog record".
/// <code>
///  0  u32  next layer id     (the first id never given out)
///  4  u32  next disk id
///  8  u32  next snapshot id
/// 12  u16  number of rows
/// 14  u8   image flags: bit 0 first part, bit 1 last part (catalog image records only, else 0)
/// 15  u8   0
/// 16  u64  next extent id     (a lower bound of the first id never given out)
/// 24       rows:
///            u8  kind: 1 layer, 2 disk, 3 snapshot, 4 setting, 5 segments needed (images only)
///            u8  action: 1 put, 2 remove
///            u16 length of the body
///            body; of a removal only its first field
/// layer body:    u32 id, u32 parent
/// disk body:     u32 id, u32 head layer, u32 origin snapshot, u32 logical block bytes, u64 size, i64 created, u8[16] uuid,
///                u16 name length, u16 attributes length, name (UTF-8), attributes
/// snapshot body: u32 id, u32 disk, u32 layer, u32 0, u64 size, i64 created, u16 name length, u16 0, name
/// segments body: u32 numbers, at most 8192
/// setting body:  u16 key length, u16 value length, key (UTF-8), value
/// </code>
/// Valid if and only if: (C1) rows fill the payload exactly; (C2) kinds and actions are known; (C3) bodies have the length their fields
/// demand; (C4) ids are not 0.
/// </summary>
internal sealed class CatalogChange
{
    /// <summary>Rows that one record holds: far below what a batch has room for.</summary>
    public const int BytesMax = 256 << 10;

    public const int SegmentsMax = 8192;

    public const int AttributesBytesMax = 32768;

    private const int HeaderBytes = 24;

    private enum RowKind : byte
    {
        Layer = 1,
        Disk = 2,
        Snapshot = 3,
        Setting = 4,
        Segments = 5,
    }

    private enum RowAction : byte
    {
        Put = 1,
        Remove = 2,
    }

    private readonly MemoryStream rows = new();
    private ushort count;

    public int SizeBytes => HeaderBytes + (int)rows.Length;

    public void Put(LayerRow row)
    {
        Span<byte> body = stackalloc byte[8];
        BinaryPrimitives.WriteUInt32LittleEndian(body, row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body[4..], row.Parent.Value);
        Add(RowKind.Layer, RowAction.Put, body);
    }

    public void Put(DiskRow row)
    {
        var name = Encoding.UTF8.GetBytes(row.Name);
        var body = new byte[52 + name.Length + row.Attributes.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(body, row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(4), row.Head.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(8), row.Origin.Value);
        BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(12), row.LogicalBlockBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(16), row.SizeBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(24), row.CreatedTicks);
        row.Uuid.TryWriteBytes(body.AsSpan(32), bigEndian: true, out _);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(48), checked((ushort)name.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(50), checked((ushort)row.Attributes.Length));
        name.CopyTo(body.AsSpan(52));
        row.Attributes.Span.CopyTo(body.AsSpan(52 + name.Length));
        Add(RowKind.Disk, RowAction.Put, body);
    }

    public void Put(SnapshotRow row)
    {
        var name = Encoding.UTF8.GetBytes(row.Name);
        var body = new byte[36 + name.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(body, row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(4), row.Disk.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(8), row.Layer.Value);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(16), row.SizeBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(24), row.CreatedTicks);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(32), checked((ushort)name.Length));
        name.CopyTo(body.AsSpan(36));
        Add(RowKind.Snapshot, RowAction.Put, body);
    }

    public void PutSetting(string key, ReadOnlySpan<byte> value)
    {
        var name = Encoding.UTF8.GetBytes(key);
        var body = new byte[4 + name.Length + value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(body, checked((ushort)name.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(2), checked((ushort)value.Length));
        name.CopyTo(body.AsSpan(4));
        value.CopyTo(body.AsSpan(4 + name.Length));
        Add(RowKind.Setting, RowAction.Put, body);
    }

    public void PutSegments(IReadOnlyList<uint> numbers, int first, int length)
    {
        var body = new byte[length * 4];
        for (var i = 0; i < length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(i * 4), numbers[first + i]);
        Add(RowKind.Segments, RowAction.Put, body);
    }

    public void RemoveSetting(string key)
    {
        var name = Encoding.UTF8.GetBytes(key);
        var body = new byte[4 + name.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(body, checked((ushort)name.Length));
        name.CopyTo(body.AsSpan(4));
        Add(RowKind.Setting, RowAction.Remove, body);
    }

    public void Remove(LayerId id) => AddRemoval(RowKind.Layer, id.Value);

    public void Remove(DiskId id) => AddRemoval(RowKind.Disk, id.Value);

    public void Remove(SnapshotId id) => AddRemoval(RowKind.Snapshot, id.Value);

    public byte[] ToBytes(Catalog counters, bool imageFirst = false, bool imageLast = false)
    {
        var bytes = new byte[SizeBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes, counters.NextLayer);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(4), counters.NextDisk);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(8), counters.NextSnapshot);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(12), count);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), counters.NextExtentId);
        bytes[14] = (byte)((imageFirst ? 1 : 0) | (imageLast ? 2 : 0));
        rows.GetBuffer().AsSpan(0, (int)rows.Length).CopyTo(bytes.AsSpan(HeaderBytes));
        return bytes;
    }

    /// <summary>Parses a payload and applies it. Nothing is applied where <paramref name="fault"/> is set.</summary>
    public static bool TryApply(ReadOnlySpan<byte> payload, Catalog catalog, out string fault)
    {
        if (!Walk(payload, catalog: null, out fault))
            return false;
        Walk(payload, catalog, out _);
        catalog.NextLayer = Math.Max(catalog.NextLayer, BinaryPrimitives.ReadUInt32LittleEndian(payload));
        catalog.NextDisk = Math.Max(catalog.NextDisk, BinaryPrimitives.ReadUInt32LittleEndian(payload[4..]));
        catalog.NextSnapshot = Math.Max(catalog.NextSnapshot, BinaryPrimitives.ReadUInt32LittleEndian(payload[8..]));
        catalog.NextExtentId = Math.Max(catalog.NextExtentId, BinaryPrimitives.ReadUInt64LittleEndian(payload[16..]));
        return true;
    }

    public static bool IsImageFirst(ReadOnlySpan<byte> payload) => payload.Length >= HeaderBytes && (payload[14] & 1) != 0;

    public static bool IsImageLast(ReadOnlySpan<byte> payload) => payload.Length >= HeaderBytes && (payload[14] & 2) != 0;

    private static bool Walk(ReadOnlySpan<byte> payload, Catalog? catalog, out string fault)
    {
        fault = "";
        if (payload.Length < HeaderBytes)
        {
            fault = "C1: shorter than its header";
            return false;
        }

        var rest = payload[HeaderBytes..];
        for (var i = BinaryPrimitives.ReadUInt16LittleEndian(payload[12..]); i > 0; i--)
        {
            if (rest.Length < 4 || BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]) > rest.Length - 4)
            {
                fault = "C1: a row is cut off";
                return false;
            }

            var body = rest.Slice(4, BinaryPrimitives.ReadUInt16LittleEndian(rest[2..]));
            if ((RowAction)rest[1] is not (RowAction.Put or RowAction.Remove))
                fault = $"C2: action {rest[1]}";
            else
                fault = WalkRow((RowKind)rest[0], (RowAction)rest[1] == RowAction.Put, body, catalog);
            if (fault.Length > 0)
                return false;
            rest = rest[(4 + body.Length)..];
        }

        if (rest.Length > 0)
            fault = "C1: bytes behind the last row";
        return rest.Length == 0;
    }

    private static string WalkRow(RowKind kind, bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (kind == RowKind.Setting)
            return WalkSetting(put, body, catalog);
        if (kind == RowKind.Segments)
            return WalkSegments(put, body, catalog);
        if (kind is not (RowKind.Layer or RowKind.Disk or RowKind.Snapshot))
            return $"C2: row kind {(byte)kind}";
        if (body.Length < 4)
            return "C3: no id";
        var id = BinaryPrimitives.ReadUInt32LittleEndian(body);
        if (id == 0)
            return "C4: id is 0";
        if (!put)
        {
            if (body.Length != 4)
                return "C3: length of a removal";
            if (kind == RowKind.Layer)
                catalog?.Remove(new LayerId(id));
            else if (kind == RowKind.Disk)
                catalog?.Remove(new DiskId(id));
            else
                catalog?.Remove(new SnapshotId(id));
            return "";
        }

        return kind switch
        {
            RowKind.Layer => WalkLayer(id, body, catalog),
            RowKind.Disk => WalkDisk(id, body, catalog),
            _ => WalkSnapshot(id, body, catalog),
        };
    }

    private static string WalkLayer(uint id, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length != 8)
            return "C3: length of a layer";
        catalog?.Put(new LayerRow(new LayerId(id), new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[4..]))));
        return "";
    }

    private static string WalkDisk(uint id, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < 52)
            return "C3: length of a disk";
        int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[48..]);
        int attributeBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[50..]);
        if (body.Length != 52 + nameBytes + attributeBytes)
            return "C3: length of a disk";
        if (BinaryPrimitives.ReadUInt32LittleEndian(body[4..]) == 0)
            return "C4: head layer is 0";
        catalog?.Put(new DiskRow
        {
            Id = new DiskId(id),
            Head = new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[4..])),
            Origin = new SnapshotId(BinaryPrimitives.ReadUInt32LittleEndian(body[8..])),
            LogicalBlockBytes = BinaryPrimitives.ReadInt32LittleEndian(body[12..]),
            SizeBytes = BinaryPrimitives.ReadInt64LittleEndian(body[16..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(body[24..]),
            Uuid = new Guid(body.Slice(32, 16), bigEndian: true),
            Name = Encoding.UTF8.GetString(body.Slice(52, nameBytes)),
            Attributes = body.Slice(52 + nameBytes, attributeBytes).ToArray(),
        });
        return "";
    }

    private static string WalkSnapshot(uint id, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < 36 || body.Length != 36 + BinaryPrimitives.ReadUInt16LittleEndian(body[32..]))
            return "C3: length of a snapshot";
        if (BinaryPrimitives.ReadUInt32LittleEndian(body[4..]) == 0 || BinaryPrimitives.ReadUInt32LittleEndian(body[8..]) == 0)
            return "C4: disk or layer is 0";
        catalog?.Put(new SnapshotRow
        {
            Id = new SnapshotId(id),
            Disk = new DiskId(BinaryPrimitives.ReadUInt32LittleEndian(body[4..])),
            Layer = new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[8..])),
            SizeBytes = BinaryPrimitives.ReadInt64LittleEndian(body[16..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(body[24..]),
            Name = Encoding.UTF8.GetString(body[36..]),
        });
        return "";
    }

    private static string WalkSetting(bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < 4)
            return "C3: length of a setting";
        int keyBytes = BinaryPrimitives.ReadUInt16LittleEndian(body);
        int valueBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[2..]);
        if (keyBytes == 0 || body.Length != 4 + keyBytes + valueBytes)
            return "C3: length of a setting";
        var key = Encoding.UTF8.GetString(body.Slice(4, keyBytes));
        if (put)
            catalog?.PutSetting(key, body[(4 + keyBytes)..].ToArray());
        else
            catalog?.RemoveSetting(key);
        return "";
    }

    private static string WalkSegments(bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (!put || body.Length % 4 != 0)
            return "C3: length of a list of segments";
        for (var i = 0; i < body.Length; i += 4)
            catalog?.KeptSegments.Add(BinaryPrimitives.ReadUInt32LittleEndian(body[i..]));
        return "";
    }

    private void AddRemoval(RowKind kind, uint id)
    {
        Span<byte> body = stackalloc byte[4];
        BinaryPrimitives.WriteUInt32LittleEndian(body, id);
        Add(kind, RowAction.Remove, body);
    }

    private void Add(RowKind kind, RowAction action, ReadOnlySpan<byte> body)
    {
        Span<byte> head = stackalloc byte[4];
        head[0] = (byte)kind;
        head[1] = (byte)action;
        BinaryPrimitives.WriteUInt16LittleEndian(head[2..], checked((ushort)body.Length));
        rows.Write(head);
        rows.Write(body);
        count = checked((ushort)(count + 1));
    }
}
