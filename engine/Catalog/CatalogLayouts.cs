namespace CowScsi.Engine;

/// <summary>What a row of a catalog record is about.</summary>
internal enum RowKind : byte
{
    Layer = 1,
    Disk = 2,
    Snapshot = 3,
    Setting = 4,

    /// <summary>Segments that a rebuild needs; in images only.</summary>
    Segments = 5,
}

/// <summary>What a row of a catalog record does.</summary>
internal enum RowAction : byte
{
    Put = 1,

    /// <summary>The body holds the id only, or a setting's key.</summary>
    Remove = 2,
}

/// <summary>Where the fields of a catalog record lie: its header, then the rows. docs/format.md, "Catalog record".</summary>
internal static class CatalogRecord
{
    public const int HeaderBytes = 24;
    public const int NextLayerAt = 0;
    public const int NextDiskAt = 4;
    public const int NextSnapshotAt = 8;
    public const int RowCountAt = 12;
    public const int ImageFlagsAt = 14;
    public const int ZeroAt = 15;
    public const int NextExtentAt = 16;

    /// <summary>Bits of the image flags.</summary>
    public const byte FirstPart = 1;
    public const byte LastPart = 2;

    public static StoredLayout Layout { get; } = new(
        "Catalog record",
        HeaderBytes,
        StoredField.Of("next_layer", FieldKind.Number, NextLayerAt, 4),
        StoredField.Of("next_disk", FieldKind.Number, NextDiskAt, 4),
        StoredField.Of("next_snapshot", FieldKind.Number, NextSnapshotAt, 4),
        StoredField.Of("row_count", FieldKind.Number, RowCountAt, 2),
        StoredField.Of("image_flags", FieldKind.Hex, ImageFlagsAt, 1),
        StoredField.Of("zero", FieldKind.Zero, ZeroAt, 1),
        StoredField.Of("next_extent", FieldKind.Number, NextExtentAt, 8),
        new StoredField("rows", FieldKind.Bytes, HeaderBytes, 0, Length: "-"));
}

/// <summary>A row: its head, then the body.</summary>
internal static class CatalogRow
{
    public const int HeadBytes = 4;
    public const int KindAt = 0;
    public const int ActionAt = 1;
    public const int BodyBytesAt = 2;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Row",
        HeadBytes,
        StoredField.Of("kind", FieldKind.Number, KindAt, 1),
        StoredField.Of("action", FieldKind.Number, ActionAt, 1),
        StoredField.Of("body_bytes", FieldKind.Number, BodyBytesAt, 2),
        new StoredField("body", FieldKind.Bytes, HeadBytes, 0, Length: "body_bytes"));
}

/// <summary>The body that takes a layer, disk or snapshot out.</summary>
internal static class RemovalBody
{
    public const int SizeBytes = 4;
    public const int IdAt = 0;

    public static StoredLayout Layout { get; } = new("Catalog record: Removal body", SizeBytes, StoredField.Of("id", FieldKind.Number, IdAt, 4));
}

/// <summary>The body that puts a layer.</summary>
internal static class LayerBody
{
    public const int SizeBytes = 8;
    public const int IdAt = 0;
    public const int ParentAt = 4;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Layer body",
        SizeBytes,
        StoredField.Of("id", FieldKind.Number, IdAt, 4),
        StoredField.Of("parent", FieldKind.Number, ParentAt, 4));
}

/// <summary>The body that puts a disk.</summary>
internal static class DiskBody
{
    public const int FixedBytes = 52;
    public const int IdAt = 0;
    public const int HeadAt = 4;
    public const int OriginAt = 8;
    public const int LogicalBlockBytesAt = 12;
    public const int SizeAt = 16;
    public const int CreatedAt = 24;
    public const int UuidAt = 32;
    public const int UuidBytes = 16;
    public const int NameBytesAt = 48;
    public const int AttributeBytesAt = 50;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Disk body",
        FixedBytes,
        StoredField.Of("id", FieldKind.Number, IdAt, 4),
        StoredField.Of("head", FieldKind.Number, HeadAt, 4),
        StoredField.Of("origin", FieldKind.Number, OriginAt, 4),
        StoredField.Of("logical_block_bytes", FieldKind.Number, LogicalBlockBytesAt, 4),
        StoredField.Of("size", FieldKind.Number, SizeAt, 8),
        StoredField.Of("created", FieldKind.Time, CreatedAt, 8),
        StoredField.Of("uuid", FieldKind.Uuid, UuidAt, UuidBytes),
        StoredField.Of("name_bytes", FieldKind.Number, NameBytesAt, 2),
        StoredField.Of("attribute_bytes", FieldKind.Number, AttributeBytesAt, 2),
        new StoredField("name", FieldKind.Text, FixedBytes, 0, Length: "name_bytes"),
        new StoredField("attributes", FieldKind.Secret, FixedBytes, 0, Length: "attribute_bytes", Behind: "name_bytes"));
}

/// <summary>The body that puts a snapshot.</summary>
internal static class SnapshotBody
{
    public const int FixedBytes = 36;
    public const int IdAt = 0;
    public const int DiskAt = 4;
    public const int LayerAt = 8;
    public const int Zero1At = 12;
    public const int SizeAt = 16;
    public const int CreatedAt = 24;
    public const int NameBytesAt = 32;
    public const int Zero2At = 34;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Snapshot body",
        FixedBytes,
        StoredField.Of("id", FieldKind.Number, IdAt, 4),
        StoredField.Of("disk", FieldKind.Number, DiskAt, 4),
        StoredField.Of("layer", FieldKind.Number, LayerAt, 4),
        StoredField.Of("zero", FieldKind.Zero, Zero1At, 4),
        StoredField.Of("size", FieldKind.Number, SizeAt, 8),
        StoredField.Of("created", FieldKind.Time, CreatedAt, 8),
        StoredField.Of("name_bytes", FieldKind.Number, NameBytesAt, 2),
        StoredField.Of("zero", FieldKind.Zero, Zero2At, 2),
        new StoredField("name", FieldKind.Text, FixedBytes, 0, Length: "name_bytes"));
}

/// <summary>The body that puts a setting; of a removal the value is empty.</summary>
internal static class SettingBody
{
    public const int FixedBytes = 4;
    public const int KeyBytesAt = 0;
    public const int ValueBytesAt = 2;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Setting body",
        FixedBytes,
        StoredField.Of("key_bytes", FieldKind.Number, KeyBytesAt, 2),
        StoredField.Of("value_bytes", FieldKind.Number, ValueBytesAt, 2),
        new StoredField("key", FieldKind.Text, FixedBytes, 0, Length: "key_bytes"),
        new StoredField("value", FieldKind.Bytes, FixedBytes, 0, Length: "value_bytes", Behind: "key_bytes"));
}

/// <summary>The body that lists segments which a rebuild needs.</summary>
internal static class SegmentsBody
{
    public const int NumberBytes = 4;

    public static StoredLayout Layout { get; } = new(
        "Catalog record: Segments body",
        0,
        new StoredField("numbers", FieldKind.Bytes, 0, 0, Length: "4 × n"));
}
