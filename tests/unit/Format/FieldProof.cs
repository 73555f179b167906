using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>Collects, for one structure, the proof of each field of its layout; <see cref="Done"/> finds those without one.</summary>
/// <param name="layout">What the code says.</param>
/// <param name="write">What the code does.</param>
/// <param name="checksum">The field that changes with each other one; or none.</param>
/// <param name="first">The value that the others are compared with.</param>
internal sealed class FieldProof<T>(StoredLayout layout, Func<T, byte[]> write, string checksum, T first)
{
    private readonly HashSet<string> proven = new(StringComparer.Ordinal) { checksum };
    private readonly byte[] bytes = write(first);

    /// <summary>A field that is the same in every structure of the kind.</summary>
    public FieldProof<T> Fixed(string name, ReadOnlySpan<byte> content)
    {
        var (offset, size) = PlaceOf(Find(name), bytes);
        Assert.Equal(content, bytes.AsSpan(offset, size));
        proven.Add(name);
        return this;
    }

    /// <summary>All fields of the name hold zeros.</summary>
    public FieldProof<T> Zeros(string name = "zero")
    {
        foreach (var field in layout.Fields.Where(field => field.Name == name))
            Assert.False(bytes.AsSpan(field.OffsetBytes, field.SizeBytes).ContainsAnyExcept((byte)0), $"{name} at {field.OffsetBytes} is not 0");
        Assert.True(proven.Add(name));
        return this;
    }

    /// <summary>
    /// A value that differs in the one field, and there in its first and last byte at least: the bytes that differ are the field's and the
    /// checksum's.
    /// </summary>
    /// <param name="trailingZeros">Bytes at the field's end that pad the structure.</param>
    public FieldProof<T> Field(string name, T value, int trailingZeros = 0)
    {
        var changed = write(value);
        Assert.Equal(bytes.Length, changed.Length);
        var (offset, size) = PlaceOf(Find(name), bytes);
        var crc = layout.Fields.FirstOrDefault(field => field.Name == checksum);
        var differs = false;
        for (var at = 0; at < bytes.Length; at++)
        {
            if (crc is not null && at >= crc.OffsetBytes && at < crc.OffsetBytes + crc.SizeBytes)
                differs |= bytes[at] != changed[at];
            else if (at < offset || at >= offset + size)
                Assert.True(bytes[at] == changed[at], $"{layout.Name}: byte {at} changes with {name}, which has {offset} to {offset + size - 1}");
        }

        Assert.True(crc is null || differs, $"{layout.Name}: {checksum} does not change with {name}");
        Assert.True(bytes[offset] != changed[offset], $"{layout.Name}: byte {offset} does not change with {name}");
        var last = offset + size - 1 - trailingZeros;
        Assert.True(bytes[last] != changed[last], $"{layout.Name}: byte {last} does not change with {name}");
        Assert.NotEqual(Shown(bytes, name), Shown(changed, name));
        proven.Add(name);
        return this;
    }

    /// <param name="elsewhere">Fields that are proven in another place.</param>
    public void Done(params string[] elsewhere)
    {
        proven.UnionWith(elsewhere);
        Assert.All(layout.Fields, field => Assert.Contains(field.Name, proven));
    }

    private StoredField Find(string name) => layout.Fields.Single(field => field.Name == name);

    private string Shown(byte[] structure, string name) => layout.Show(structure, withSecrets: true).Single(field => field.Name == name).Text;

    /// <summary>Through what shows a structure, so that this is proven with it.</summary>
    private (int Offset, int Size) PlaceOf(StoredField field, byte[] structure)
    {
        var shown = layout.Show(structure).Single(one => one.Name == field.Name && one.OffsetBytes >= field.OffsetBytes);
        return (shown.OffsetBytes, shown.SizeBytes);
    }
}
