using System.Reflection;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>docs/format.md and the code say the same of every offset, size and field, in both directions.</summary>
public sealed class DocumentTableTests
{
    public static TheoryData<string> Names()
    {
        var names = new TheoryData<string>();
        foreach (var name in Layouts().Keys.Union(FormatDocument.Tables().Keys, StringComparer.Ordinal).Order(StringComparer.Ordinal))
            names.Add(name);
        return names;
    }

    /// <summary>All layouts of the code: every static property of that type. None can be forgotten in a list.</summary>
    internal static Dictionary<string, StoredLayout> Layouts()
    {
        var layouts = new Dictionary<string, StoredLayout>(StringComparer.Ordinal);
        foreach (var assembly in new[] { typeof(Superblock).Assembly, typeof(KeySlotTable).Assembly, typeof(ReservationRecord).Assembly })
        {
            foreach (var type in assembly.GetTypes())
            {
                foreach (var property in type.GetProperties(BindingFlags.Static | BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.DeclaredOnly))
                {
                    if (property.PropertyType == typeof(StoredLayout))
                        layouts.Add(((StoredLayout)property.GetValue(null)!).Name, (StoredLayout)property.GetValue(null)!);
                }
            }
        }

        return layouts;
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Table_IsTheCodesLayout(string name)
    {
        Assert.True(FormatDocument.Tables().TryGetValue(name, out var documented), $"docs/format.md has no table for '{name}'");
        Assert.True(Layouts().TryGetValue(name, out var layout), $"no layout in the code for the table '{name}' of docs/format.md");
        Assert.Equal(documented, layout.Fields.Select(field => new DocumentField(field.OffsetText, field.SizeText, field.Name)));
    }

    [Theory]
    [MemberData(nameof(Names))]
    public void Fields_CoverTheStructure_WithoutHolesOrOverlaps(string name)
    {
        var layout = Layouts()[name];
        var end = 0;
        var variable = false;
        foreach (var field in layout.Fields)
        {
            Assert.True(field.OffsetBytes == end, $"{field.Name} lies at {field.OffsetBytes}, what is before it ends at {end}");
            Assert.True(!variable || field.Length is not null, $"{field.Name} has a fixed place behind a field without a fixed length");
            Assert.True(variable == field.Behind is not null, $"the place of {field.Name} does not count what is before it");
            variable |= field.Length is not null;
            end += field.SizeBytes;
        }

        Assert.Equal(layout.SizeBytes, end);
    }

    [Fact]
    public void SizeInACaption_IsTheLayouts()
    {
        var captions = 0;
        foreach (var line in FormatDocument.Lines)
        {
            var words = line.TrimEnd(':').Split(", ");
            var layout = Layouts().Values.FirstOrDefault(known => line.EndsWith(':') && known.Name.EndsWith(": " + words[0], StringComparison.Ordinal));
            if (layout is null || !words[^1].EndsWith(" bytes", StringComparison.Ordinal) || !int.TryParse(words[^1][..^6], out var size))
                continue;
            Assert.Equal(size, layout.SizeBytes);
            captions++;
        }

        Assert.True(captions >= 4, $"only {captions} captions name a size");
    }

    /// <summary>An offset that is not a named constant would be a second statement of the layout, which nothing compares.</summary>
    [Fact]
    public void FormatSources_HoldNoOffsetAsANumber()
    {
        string[] sources =
        [
            .. SourceTree.Files(".cs").Where(file => (file.StartsWith("engine/Format/", StringComparison.Ordinal) && file != "engine/Format/StoredLayout.cs") || file.StartsWith("engine/Catalog/", StringComparison.Ordinal)),
            "layers/Disks/DiskAttributes.cs", "layers/Keys/KeySlot.cs", "layers/Keys/KeySlotTable.cs", "layers/Keys/StoredKey.cs", "engine/Log/LogReader.cs",
        ];
        var pattern = new System.Text.RegularExpressions.Regex(
            @"\b(bytes|slot|header|block|body|payload|target|source|destination|rest|row|descriptors)(\.AsSpan\(|\.Slice\(|\[)\(?[0-9]+(\.\.\]|\]|\)|,| \+)",
            System.Text.RegularExpressions.RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));
        var found = from file in sources
                    from match in pattern.Matches(SourceTree.Read(file))
                    where !match.Value.EndsWith("(0,", StringComparison.Ordinal)
                    select $"{file}: {match.Value}";
        SourceTree.AssertNone("offsets as numbers", found);
    }
}
