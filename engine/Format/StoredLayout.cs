using System.Buffers.Binary;
using System.Globalization;
using System.Runtime.CompilerServices;
using System.Text;

namespace CowScsi.Engine;

/// <summary>What the bytes of a field are, and so how they are shown.</summary>
public enum FieldKind : byte
{
    /// <summary>Little-endian, not negative.</summary>
    Number = 1,

    /// <summary>Little-endian, two's complement.</summary>
    Signed = 2,

    /// <summary>Little-endian; a mask, a checksum or a tag, shown in hexadecimal.</summary>
    Hex = 3,

    /// <summary>16 bytes in the order in which they are printed.</summary>
    Uuid = 4,

    /// <summary>Little-endian; 100 ns since 0001-01-01 UTC.</summary>
    Time = 5,

    /// <summary>UTF-8.</summary>
    Text = 6,

    /// <summary>Bytes that are shown as they are, cut where there are many.</summary>
    Bytes = 7,

    /// <summary>Bytes that are a secret, or a wrapped one: never shown, only their number.</summary>
    Secret = 8,

    /// <summary>Written as zeros.</summary>
    Zero = 9,
}

/// <summary>One field of a stored structure.</summary>
/// <param name="Name">As docs/format.md names it.</param>
/// <param name="Kind">What the bytes are.</param>
/// <param name="OffsetBytes">In the structure; where <paramref name="Behind"/> is set, what is added to that field's value.</param>
/// <param name="SizeBytes">0 where the length is not fixed.</param>
/// <param name="Length">Where the length is not fixed: the field that holds it, a product such as "4 × n", or "-" for all that is left.</param>
/// <param name="Behind">The field that holds the length of a variable field in front of this one.</param>
public sealed record StoredField(string Name, FieldKind Kind, int OffsetBytes, int SizeBytes, string? Length = null, string? Behind = null)
{
    /// <summary>The offset as docs/format.md prints it.</summary>
    public string OffsetText => Behind is null ? Invariant(OffsetBytes) : $"{Invariant(OffsetBytes)} + {Behind}";

    /// <summary>The size as docs/format.md prints it.</summary>
    public string SizeText => Length ?? Invariant(SizeBytes);

    /// <summary>A field of fixed length.</summary>
    public static StoredField Of(string name, FieldKind kind, int offset, int size) => new(name, kind, offset, size);

    /// <summary>Where a field lies in a structure that is stored as it is in memory.</summary>
    internal static int OffsetIn<TStructure, TField>(in TStructure structure, in TField field)
        where TStructure : unmanaged
        where TField : unmanaged =>
        (int)Unsafe.ByteOffset(ref Unsafe.As<TStructure, byte>(ref Unsafe.AsRef(in structure)), ref Unsafe.As<TField, byte>(ref Unsafe.AsRef(in field)));

    private static string Invariant(int value) => value.ToString(CultureInfo.InvariantCulture);
}

/// <summary>
/// The one statement of where the fields of a stored structure lie. Its offsets are the constants that the structure's Write and TryRead
/// use; what shows a structure reads it, and docs/format.md is compared with it.
/// </summary>
public sealed class StoredLayout
{
    /// <summary>Bytes of one field that are shown at most.</summary>
    private const int ShownBytesMax = 64;

    /// <param name="name">As docs/format.md names it: the heading, and where that has several tables a colon and the table's caption.</param>
    /// <param name="sizeBytes">Of the part whose length is fixed.</param>
    /// <param name="fields">In ascending order; they cover the whole structure.</param>
    public StoredLayout(string name, int sizeBytes, params StoredField[] fields)
    {
        ArgumentNullException.ThrowIfNull(fields);
        Name = name;
        SizeBytes = sizeBytes;
        Fields = fields;
    }

    public string Name { get; }

    public int SizeBytes { get; }

    public IReadOnlyList<StoredField> Fields { get; }

    /// <summary>
    /// The fields of a structure as text, whatever its state: nothing is refused, what the bytes do not reach is left out.
    /// </summary>
    /// <param name="structure">Its bytes, and what lies behind it where its last field has no length of its own.</param>
    /// <param name="withSecrets">Show wrapped keys and what goes with them as well, in hexadecimal.</param>
    public IReadOnlyList<ShownField> Show(ReadOnlySpan<byte> structure, bool withSecrets = false)
    {
        var shown = new List<ShownField>(Fields.Count);
        foreach (var field in Fields)
        {
            var offset = field.OffsetBytes + (field.Behind is null ? 0 : LengthIn(structure, field.Behind));
            if (offset > structure.Length)
                break;
            var size = field.Length is null ? field.SizeBytes : LengthIn(structure, field.Length);
            if (size < 0)
                size = structure.Length - offset;
            if (size > structure.Length - offset)
                break;
            shown.Add(new ShownField(field.Name, offset, size, Text(field.Kind == FieldKind.Secret && withSecrets ? FieldKind.Bytes : field.Kind, structure.Slice(offset, size))));
        }

        return shown;
    }

    /// <summary>The value of a numeric field; -1 where the name is none or the structure does not reach it.</summary>
    private int LengthIn(ReadOnlySpan<byte> structure, string name)
    {
        foreach (var field in Fields)
        {
            if (field.Name == name && field.SizeBytes is 1 or 2 && field.OffsetBytes + field.SizeBytes <= structure.Length)
                return (int)Unsigned(structure.Slice(field.OffsetBytes, field.SizeBytes));
        }

        return -1;
    }

    private static string Text(FieldKind kind, ReadOnlySpan<byte> bytes)
    {
        var invariant = CultureInfo.InvariantCulture;
        switch (kind)
        {
            case FieldKind.Number:
                return Unsigned(bytes).ToString(invariant);
            case FieldKind.Signed:
                return (bytes.Length == sizeof(int) ? BinaryPrimitives.ReadInt32LittleEndian(bytes) : BinaryPrimitives.ReadInt64LittleEndian(bytes)).ToString(invariant);
            case FieldKind.Hex:
                return "0x" + Unsigned(bytes).ToString("x" + (bytes.Length * 2).ToString(invariant), invariant);
            case FieldKind.Uuid:
                return new Guid(bytes, bigEndian: true).ToString();
            case FieldKind.Time:
                var ticks = Unsigned(bytes);
                return ticks > (ulong)DateTime.MaxValue.Ticks ? ticks.ToString(invariant) : new DateTime((long)ticks, DateTimeKind.Utc).ToString("O", invariant);
            case FieldKind.Text:
                return Quote(bytes);
            case FieldKind.Secret:
                return $"({bytes.Length} bytes, not shown)";
            case FieldKind.Zero when !bytes.ContainsAnyExcept((byte)0):
                return "0";
            default:
                return bytes.Length <= ShownBytesMax ? Convert.ToHexStringLower(bytes) : $"{Convert.ToHexStringLower(bytes[..ShownBytesMax])}... ({bytes.Length} bytes)";
        }
    }

    /// <summary>Text from outside in quotes, without characters that could steer a terminal or break a line.</summary>
    private static string Quote(ReadOnlySpan<byte> bytes)
    {
        var text = new StringBuilder("'");
        foreach (var letter in Encoding.UTF8.GetString(bytes))
            text.Append(char.IsControl(letter) ? '?' : letter);
        return text.Append('\'').ToString();
    }

    private static ulong Unsigned(ReadOnlySpan<byte> bytes) => bytes.Length switch
    {
        1 => bytes[0],
        2 => BinaryPrimitives.ReadUInt16LittleEndian(bytes),
        4 => BinaryPrimitives.ReadUInt32LittleEndian(bytes),
        _ => BinaryPrimitives.ReadUInt64LittleEndian(bytes),
    };
}

/// <summary>One field as it is shown.</summary>
/// <param name="Name">As docs/format.md names it.</param>
/// <param name="OffsetBytes">In the structure.</param>
/// <param name="SizeBytes">Length in bytes.</param>
/// <param name="Text">The value.</param>
public readonly record struct ShownField(string Name, int OffsetBytes, int SizeBytes, string Text);
