using System.Buffers.Binary;
using System.Text;
using System.Text.Unicode;

namespace CowScsi.Engine;

/// <summary>
/// Rows to put into and take out of the catalog in one step: the payload of a catalog record. docs/format.md, "Catalog record"; the fields
/// are in <see cref="CatalogRecord"/>, <see cref="CatalogRow"/> and the bodies beside them.
/// Valid if and only if: (C1) rows fill the payload exactly; (C2) kinds and actions are known; (C3) bodies have the length their fields
/// demand; (C4) ids are not 0; (C5) names, sizes, block sizes
/// and times are such as a disk or a snapshot can have, keys of settings are text.
/// </summary>
internal sealed class CatalogChange
{
    /// <summary>Rows that one record holds: far below what a batch has room for.</summary>
    public const int BytesMax = 256 << 10;

    public const int SegmentsMax = 8192;

    public const int AttributesBytesMax = 32768;

    private const int HeaderBytes = CatalogRecord.HeaderBytes;
    private const int NameBytesMax = 128;
    private const int LogicalBlockBytesMin = 512;

    private readonly MemoryStream rows = new();
    private ushort count;

    public int SizeBytes => HeaderBytes + (int)rows.Length;

    public void Put(LayerRow row)
    {
        Span<byte> body = stackalloc byte[LayerBody.SizeBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(body[LayerBody.IdAt..], row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body[LayerBody.ParentAt..], row.Parent.Value);
        Add(RowKind.Layer, RowAction.Put, body);
    }

    public void Put(DiskRow row)
    {
        var name = Encoding.UTF8.GetBytes(row.Name);
        var body = new byte[DiskBody.FixedBytes + name.Length + row.Attributes.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(DiskBody.IdAt), row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(DiskBody.HeadAt), row.Head.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(DiskBody.OriginAt), row.Origin.Value);
        BinaryPrimitives.WriteInt32LittleEndian(body.AsSpan(DiskBody.LogicalBlockBytesAt), row.LogicalBlockBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(DiskBody.SizeAt), row.SizeBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(DiskBody.CreatedAt), row.CreatedTicks);
        row.Uuid.TryWriteBytes(body.AsSpan(DiskBody.UuidAt), bigEndian: true, out _);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(DiskBody.NameBytesAt), checked((ushort)name.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(DiskBody.AttributeBytesAt), checked((ushort)row.Attributes.Length));
        name.CopyTo(body.AsSpan(DiskBody.FixedBytes));
        row.Attributes.Span.CopyTo(body.AsSpan(DiskBody.FixedBytes + name.Length));
        Add(RowKind.Disk, RowAction.Put, body);
    }

    public void Put(SnapshotRow row)
    {
        var name = Encoding.UTF8.GetBytes(row.Name);
        var body = new byte[SnapshotBody.FixedBytes + name.Length];
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(SnapshotBody.IdAt), row.Id.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(SnapshotBody.DiskAt), row.Disk.Value);
        BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(SnapshotBody.LayerAt), row.Layer.Value);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(SnapshotBody.SizeAt), row.SizeBytes);
        BinaryPrimitives.WriteInt64LittleEndian(body.AsSpan(SnapshotBody.CreatedAt), row.CreatedTicks);
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(SnapshotBody.NameBytesAt), checked((ushort)name.Length));
        name.CopyTo(body.AsSpan(SnapshotBody.FixedBytes));
        Add(RowKind.Snapshot, RowAction.Put, body);
    }

    public void PutSetting(string key, ReadOnlySpan<byte> value)
    {
        var name = Encoding.UTF8.GetBytes(key);
        var body = new byte[SettingBody.FixedBytes + name.Length + value.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(SettingBody.KeyBytesAt), checked((ushort)name.Length));
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(SettingBody.ValueBytesAt), checked((ushort)value.Length));
        name.CopyTo(body.AsSpan(SettingBody.FixedBytes));
        value.CopyTo(body.AsSpan(SettingBody.FixedBytes + name.Length));
        Add(RowKind.Setting, RowAction.Put, body);
    }

    public void PutSegments(IReadOnlyList<uint> numbers, int first, int length)
    {
        var body = new byte[length * SegmentsBody.NumberBytes];
        for (var i = 0; i < length; i++)
            BinaryPrimitives.WriteUInt32LittleEndian(body.AsSpan(i * SegmentsBody.NumberBytes), numbers[first + i]);
        Add(RowKind.Segments, RowAction.Put, body);
    }

    public void RemoveSetting(string key)
    {
        var name = Encoding.UTF8.GetBytes(key);
        var body = new byte[SettingBody.FixedBytes + name.Length];
        BinaryPrimitives.WriteUInt16LittleEndian(body.AsSpan(SettingBody.KeyBytesAt), checked((ushort)name.Length));
        name.CopyTo(body.AsSpan(SettingBody.FixedBytes));
        Add(RowKind.Setting, RowAction.Remove, body);
    }

    public void Remove(LayerId id) => AddRemoval(RowKind.Layer, id.Value);

    public void Remove(DiskId id) => AddRemoval(RowKind.Disk, id.Value);

    public void Remove(SnapshotId id) => AddRemoval(RowKind.Snapshot, id.Value);

    public byte[] ToBytes(Catalog counters, bool imageFirst = false, bool imageLast = false)
    {
        var bytes = new byte[SizeBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(CatalogRecord.NextLayerAt), counters.NextLayer);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(CatalogRecord.NextDiskAt), counters.NextDisk);
        BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(CatalogRecord.NextSnapshotAt), counters.NextSnapshot);
        BinaryPrimitives.WriteUInt16LittleEndian(bytes.AsSpan(CatalogRecord.RowCountAt), count);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(CatalogRecord.NextExtentAt), counters.NextExtentId);
        bytes[CatalogRecord.ImageFlagsAt] = (byte)((imageFirst ? CatalogRecord.FirstPart : 0) | (imageLast ? CatalogRecord.LastPart : 0));
        rows.GetBuffer().AsSpan(0, (int)rows.Length).CopyTo(bytes.AsSpan(HeaderBytes));
        return bytes;
    }

    /// <summary>Parses a payload and applies it. Nothing is applied where <paramref name="fault"/> is set.</summary>
    public static bool TryApply(ReadOnlySpan<byte> payload, Catalog catalog, out string fault)
    {
        if (!Walk(payload, catalog: null, out fault))
            return false;
        Walk(payload, catalog, out _);
        catalog.NextLayer = Math.Max(catalog.NextLayer, BinaryPrimitives.ReadUInt32LittleEndian(payload[CatalogRecord.NextLayerAt..]));
        catalog.NextDisk = Math.Max(catalog.NextDisk, BinaryPrimitives.ReadUInt32LittleEndian(payload[CatalogRecord.NextDiskAt..]));
        catalog.NextSnapshot = Math.Max(catalog.NextSnapshot, BinaryPrimitives.ReadUInt32LittleEndian(payload[CatalogRecord.NextSnapshotAt..]));
        catalog.NextExtentId = Math.Max(catalog.NextExtentId, BinaryPrimitives.ReadUInt64LittleEndian(payload[CatalogRecord.NextExtentAt..]));
        return true;
    }

    public static bool IsImageFirst(ReadOnlySpan<byte> payload) => payload.Length >= HeaderBytes && (payload[CatalogRecord.ImageFlagsAt] & CatalogRecord.FirstPart) != 0;

    public static bool IsImageLast(ReadOnlySpan<byte> payload) => payload.Length >= HeaderBytes && (payload[CatalogRecord.ImageFlagsAt] & CatalogRecord.LastPart) != 0;

    private static bool Walk(ReadOnlySpan<byte> payload, Catalog? catalog, out string fault)
    {
        fault = "";
        if (payload.Length < HeaderBytes)
        {
            fault = "C1: shorter than its header";
            return false;
        }

        var rest = payload[HeaderBytes..];
        for (var i = BinaryPrimitives.ReadUInt16LittleEndian(payload[CatalogRecord.RowCountAt..]); i > 0; i--)
        {
            if (rest.Length < CatalogRow.HeadBytes || BodyBytes(rest) > rest.Length - CatalogRow.HeadBytes)
            {
                fault = "C1: a row is cut off";
                return false;
            }

            var body = rest.Slice(CatalogRow.HeadBytes, BodyBytes(rest));
            if ((RowAction)rest[CatalogRow.ActionAt] is not (RowAction.Put or RowAction.Remove))
                fault = $"C2: action {rest[CatalogRow.ActionAt]}";
            else
                fault = WalkRow((RowKind)rest[CatalogRow.KindAt], (RowAction)rest[CatalogRow.ActionAt] == RowAction.Put, body, catalog);
            if (fault.Length > 0)
                return false;
            rest = rest[(CatalogRow.HeadBytes + body.Length)..];
        }

        if (rest.Length > 0)
            fault = "C1: bytes behind the last row";
        return rest.Length == 0;
    }

    private static int BodyBytes(ReadOnlySpan<byte> row) => BinaryPrimitives.ReadUInt16LittleEndian(row[CatalogRow.BodyBytesAt..]);

    private static string WalkRow(RowKind kind, bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (kind == RowKind.Setting)
            return WalkSetting(put, body, catalog);
        if (kind == RowKind.Segments)
            return WalkSegments(put, body, catalog);
        if (kind is not (RowKind.Layer or RowKind.Disk or RowKind.Snapshot))
            return $"C2: row kind {(byte)kind}";
        if (body.Length < RemovalBody.SizeBytes)
            return "C3: no id";
        var id = BinaryPrimitives.ReadUInt32LittleEndian(body[RemovalBody.IdAt..]);
        if (id == 0)
            return "C4: id is 0";
        if (!put)
        {
            if (body.Length != RemovalBody.SizeBytes)
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
        if (body.Length != LayerBody.SizeBytes)
            return "C3: length of a layer";
        catalog?.Put(new LayerRow(new LayerId(id), new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[LayerBody.ParentAt..]))));
        return "";
    }

    private static string WalkDisk(uint id, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < DiskBody.FixedBytes)
            return "C3: length of a disk";
        int nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[DiskBody.NameBytesAt..]);
        int attributeBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[DiskBody.AttributeBytesAt..]);
        if (body.Length != DiskBody.FixedBytes + nameBytes + attributeBytes)
            return "C3: length of a disk";
        if (BinaryPrimitives.ReadUInt32LittleEndian(body[DiskBody.HeadAt..]) == 0)
            return "C4: head layer is 0";
        var (size, blockBytes) = (BinaryPrimitives.ReadInt64LittleEndian(body[DiskBody.SizeAt..]), BinaryPrimitives.ReadInt32LittleEndian(body[DiskBody.LogicalBlockBytesAt..]));
        if (!IsSize(size) || blockBytes is not (LogicalBlockBytesMin or StoreFormat.BlockBytes) || !IsTime(body[DiskBody.CreatedAt..]) || !IsName(body.Slice(DiskBody.FixedBytes, nameBytes)))
            return "C5: name, size, block size or time of a disk";
        catalog?.Put(new DiskRow
        {
            Id = new DiskId(id),
            Head = new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[DiskBody.HeadAt..])),
            Origin = new SnapshotId(BinaryPrimitives.ReadUInt32LittleEndian(body[DiskBody.OriginAt..])),
            LogicalBlockBytes = BinaryPrimitives.ReadInt32LittleEndian(body[DiskBody.LogicalBlockBytesAt..]),
            SizeBytes = BinaryPrimitives.ReadInt64LittleEndian(body[DiskBody.SizeAt..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(body[DiskBody.CreatedAt..]),
            Uuid = new Guid(body.Slice(DiskBody.UuidAt, DiskBody.UuidBytes), bigEndian: true),
            Name = Encoding.UTF8.GetString(body.Slice(DiskBody.FixedBytes, nameBytes)),
            Attributes = body.Slice(DiskBody.FixedBytes + nameBytes, attributeBytes).ToArray(),
        });
        return "";
    }

    private static string WalkSnapshot(uint id, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < SnapshotBody.FixedBytes || body.Length != SnapshotBody.FixedBytes + BinaryPrimitives.ReadUInt16LittleEndian(body[SnapshotBody.NameBytesAt..]))
            return "C3: length of a snapshot";
        if (BinaryPrimitives.ReadUInt32LittleEndian(body[SnapshotBody.DiskAt..]) == 0 || BinaryPrimitives.ReadUInt32LittleEndian(body[SnapshotBody.LayerAt..]) == 0)
            return "C4: disk or layer is 0";
        if (!IsSize(BinaryPrimitives.ReadInt64LittleEndian(body[SnapshotBody.SizeAt..])) || !IsTime(body[SnapshotBody.CreatedAt..]) || !IsName(body[SnapshotBody.FixedBytes..]))
            return "C5: name, size or time of a snapshot";
        catalog?.Put(new SnapshotRow
        {
            Id = new SnapshotId(id),
            Disk = new DiskId(BinaryPrimitives.ReadUInt32LittleEndian(body[SnapshotBody.DiskAt..])),
            Layer = new LayerId(BinaryPrimitives.ReadUInt32LittleEndian(body[SnapshotBody.LayerAt..])),
            SizeBytes = BinaryPrimitives.ReadInt64LittleEndian(body[SnapshotBody.SizeAt..]),
            CreatedTicks = BinaryPrimitives.ReadInt64LittleEndian(body[SnapshotBody.CreatedAt..]),
            Name = Encoding.UTF8.GetString(body[SnapshotBody.FixedBytes..]),
        });
        return "";
    }

    private static string WalkSetting(bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (body.Length < SettingBody.FixedBytes)
            return "C3: length of a setting";
        int keyBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[SettingBody.KeyBytesAt..]);
        int valueBytes = BinaryPrimitives.ReadUInt16LittleEndian(body[SettingBody.ValueBytesAt..]);
        if (keyBytes == 0 || body.Length != SettingBody.FixedBytes + keyBytes + valueBytes)
            return "C3: length of a setting";
        if (!Utf8.IsValid(body.Slice(SettingBody.FixedBytes, keyBytes)))
            return "C5: the key of a setting is not text";
        var key = Encoding.UTF8.GetString(body.Slice(SettingBody.FixedBytes, keyBytes));
        if (put)
            catalog?.PutSetting(key, body[(SettingBody.FixedBytes + keyBytes)..].ToArray());
        else
            catalog?.RemoveSetting(key);
        return "";
    }

    private static string WalkSegments(bool put, ReadOnlySpan<byte> body, Catalog? catalog)
    {
        if (!put || body.Length % SegmentsBody.NumberBytes != 0)
            return "C3: length of a list of segments";
        for (var i = 0; i < body.Length; i += SegmentsBody.NumberBytes)
            catalog?.KeptSegments.Add(BinaryPrimitives.ReadUInt32LittleEndian(body[i..]));
        return "";
    }

    private static bool IsSize(long bytes) => bytes is > 0 and <= StoreFormat.DiskBytesMax && bytes % StoreFormat.BlockBytes == 0;

    private static bool IsTime(ReadOnlySpan<byte> bytes) => BinaryPrimitives.ReadInt64LittleEndian(bytes) is >= 0 and <= StoreFormat.TicksMax;

    /// <summary>Of a disk or a snapshot: it goes into paths, messages and commands.</summary>
    private static bool IsName(ReadOnlySpan<byte> name)
    {
        if (name.Length is 0 or > NameBytesMax || name[..1].ContainsAny(".-"u8))
            return false;
        foreach (var letter in name)
        {
            if (!char.IsAsciiLetterOrDigit((char)letter) && letter is not ((byte)'.' or (byte)'_' or (byte)'-'))
                return false;
        }

        return true;
    }

    private void AddRemoval(RowKind kind, uint id)
    {
        Span<byte> body = stackalloc byte[RemovalBody.SizeBytes];
        BinaryPrimitives.WriteUInt32LittleEndian(body[RemovalBody.IdAt..], id);
        Add(kind, RowAction.Remove, body);
    }

    private void Add(RowKind kind, RowAction action, ReadOnlySpan<byte> body)
    {
        Span<byte> head = stackalloc byte[CatalogRow.HeadBytes];
        head[CatalogRow.KindAt] = (byte)kind;
        head[CatalogRow.ActionAt] = (byte)action;
        BinaryPrimitives.WriteUInt16LittleEndian(head[CatalogRow.BodyBytesAt..], checked((ushort)body.Length));
        rows.Write(head);
        rows.Write(body);
        count = checked((ushort)(count + 1));
    }
}
