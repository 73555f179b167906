using System.Reflection;
using System.Xml.Linq;
using CowScsi.Engine;
using CowScsi.Iscsi;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu;
using CowScsi.Tests.Unit.Repository;
using CowScsi.VhostUser;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>What the packages offer is written down, so that nobody changes it unawares; and what a program meets is documented.</summary>
public sealed class PublicApiTests
{
    private const string WriteDocuments = "COWSCSI_WRITE_DOCS";

    private static readonly Dictionary<string, Assembly> Packages = new(StringComparer.Ordinal)
    {
        ["CowScsi.Engine"] = typeof(StoreOptions).Assembly,
        ["CowScsi.Layers"] = typeof(BlockDevice).Assembly,
        ["CowScsi.Scsi"] = typeof(LogicalUnit).Assembly,
        ["CowScsi.Iscsi"] = typeof(IscsiTargetServer).Assembly,
        ["CowScsi.VhostUser"] = typeof(VhostUserServer).Assembly,
        ["CowScsi.Tcmu"] = typeof(TcmuDevice).Assembly,
    };

    public static TheoryData<string> PackageNames => [.. Packages.Keys];

    [Theory]
    [MemberData(nameof(PackageNames))]
    public void PublicSurface_IsAsWrittenDown(string package)
    {
        var path = $"docs/api/{package}.txt";
        var file = Path.Combine(SourceTree.Root, path);
        var actual = PublicApi.Print(Packages[package]);
        if (Environment.GetEnvironmentVariable(WriteDocuments) == "1")
        {
            Directory.CreateDirectory(Path.GetDirectoryName(file)!);
            File.WriteAllText(file, actual);
        }

        var written = File.Exists(file) ? File.ReadAllText(file) : "";
        if (written == actual)
            return;
        var gone = written.Split('\n').Except(actual.Split('\n'), StringComparer.Ordinal).Select(line => "- " + line.Trim());
        var come = actual.Split('\n').Except(written.Split('\n'), StringComparer.Ordinal).Select(line => "+ " + line.Trim());
        Assert.Fail(
            $"the public surface of {package} is not what {path} says. Where that is meant, write it anew and commit it:\n" +
            $"  {WriteDocuments}=1 dotnet test tests/unit --filter FullyQualifiedName~PublicApiTests\n" +
            $"Where it is not, make it internal. What differs:\n  {string.Join("\n  ", gone.Concat(come))}");
    }

    [Theory]
    [MemberData(nameof(PackageNames))]
    public void PublicTypes_AreDocumented(string package)
    {
        var documented = Documented(package);
        var bare = Packages[package].GetExportedTypes().Select(type => "T:" + type.FullName!.Replace('+', '.')).Where(name => !documented.Contains(name));
        SourceTree.AssertNone($"public types of {package} without a summary", bare);
    }

    /// <summary>Whoever writes a device or a handler reads these: every member says what it is.</summary>
    [Theory]
    [InlineData(typeof(BlockDevice))]
    [InlineData(typeof(SimpleBlockDevice))]
    [InlineData(typeof(WorkerThreads))]
    [InlineData(typeof(ScsiCommandHandler))]
    [InlineData(typeof(ThreadedCommandHandler))]
    [InlineData(typeof(HandledCommand))]
    [InlineData(typeof(IncomingCommand))]
    [InlineData(typeof(ScsiAnswer))]
    [InlineData(typeof(VirtualHba))]
    [InlineData(typeof(HbaTask))]
    [InlineData(typeof(ServedDisk))]
    [InlineData(typeof(LogicalUnit))]
    [InlineData(typeof(LogicalUnitOptions))]
    [InlineData(typeof(IscsiDisk))]
    [InlineData(typeof(VhostUserDisk))]
    [InlineData(typeof(TcmuDisk))]
    [InlineData(typeof(TcmuOptions))]
    public void MembersThatProgramsUse_AreDocumented(Type type)
    {
        const BindingFlags declared = BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;
        var documented = Documented(type.Assembly.GetName().Name!);
        var methods = type.GetMethods(declared)
            .Where(method => (method.IsPublic || method.IsFamily) && !method.IsSpecialName && method.GetBaseDefinition() == method)
            .Where(method => !method.Name.Contains('<', StringComparison.Ordinal) && !IsOfARecord(type, method))
            .Select(method => $"M:{type.FullName}.{method.Name}");
        var properties = type.GetProperties(declared).Where(property => property.GetMethod is { } get && (get.IsPublic || get.IsFamily) && get.GetBaseDefinition() == get)
            .Select(property => $"P:{type.FullName}.{property.Name}")
            .Where(name => !name.EndsWith(".EqualityContract", StringComparison.Ordinal) && !(type == typeof(HandledCommand) && (name.EndsWith(".Name", StringComparison.Ordinal) || name.EndsWith(".Usage", StringComparison.Ordinal))));
        var bare = methods.Concat(properties).Where(name => !documented.Any(known => known == name || known.StartsWith(name + "(", StringComparison.Ordinal)));
        SourceTree.AssertNone($"members of {type.Name} without a summary", bare);
    }

    private static bool IsOfARecord(Type type, MethodInfo method) =>
        type.GetMethod("<Clone>$") is not null && method.Name is "Equals" or "GetHashCode" or "ToString" or "PrintMembers" or "Deconstruct";

    private static HashSet<string> Documented(string package)
    {
        var file = Path.Combine(AppContext.BaseDirectory, package + ".xml");
        Assert.True(File.Exists(file), file + " is not there");
        return XDocument.Load(file).Descendants("member")
            .Where(member => member.Element("inheritdoc") is not null || member.Element("summary") is { } summary && summary.Value.Trim().Length > 0)
            .Select(member => member.Attribute("name")!.Value)
            .ToHashSet(StringComparer.Ordinal);
    }
}
