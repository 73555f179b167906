using System.Diagnostics;
using System.IO.Compression;
using System.Reflection.Metadata;
using System.Text;
using System.Xml.Linq;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Library;

/// <summary>
/// The packages of `make pack`, and a program of somebody else's that is built from them: the example of their own readme, in a folder that
/// knows nothing of this repository.
/// </summary>
public sealed class PackageTests : IDisposable
{
    private static readonly TimeSpan Patience = TimeSpan.FromSeconds(170);

    private static readonly string[] Names = ["CowScsi.Engine", "CowScsi.Iscsi", "CowScsi.Layers", "CowScsi.Scsi", "CowScsi.Tcmu", "CowScsi.VhostUser"];

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("packages-");

    public void Dispose() => folder.Delete(recursive: true);

    [SkippableFact]
    public async Task Packages_AreWhole_AndAProgramThatUsesThemRuns()
    {
        LibiscsiClient.SkipWhereMissing();
        var feed = folder.CreateSubdirectory("feed").FullName;
        await RunAsync(SourceTree.Root, Path.Combine(SourceTree.Root, "scripts/pack"), feed);
        Assert.Equal(Names, Directory.GetFiles(feed, "*.nupkg").Select(file => NameOf(file)).Order(StringComparer.Ordinal));
        foreach (var package in Directory.GetFiles(feed, "*.nupkg"))
            AssertWhole(package);

        var program = folder.CreateSubdirectory("program").FullName;
        WriteProgram(program, feed);
        await RunAsync(program, "dotnet", "build", "--configuration", "Release", "--nologo", "--verbosity", "quiet", "-p:UseSharedCompilation=false");
        var start = new ProcessStartInfo("dotnet")
        {
            ArgumentList = { Path.Combine(program, "bin/Release/net10.0/program.dll") },
            RedirectStandardInput = true,
            RedirectStandardOutput = true,
            UseShellExecute = false,
        };
        using var running = Process.Start(start)!;
        using var patience = new CancellationTokenSource(Patience);
        var address = await running.StandardOutput.ReadLineAsync(patience.Token);
        Assert.StartsWith("iscsi://127.0.0.1:", address, StringComparison.Ordinal);
        await QemuIo.RunAsync(address!, "write -P 0x61 32M 128k", "flush", "read -P 0x61 32M 128k", "read -P 0 0 64k");
        running.StandardInput.Close(); // its Console.ReadLine ends
        await running.WaitForExitAsync(patience.Token);
        Assert.Equal(0, running.ExitCode);
    }

    private static string NameOf(string package)
    {
        var file = Path.GetFileName(package);
        return string.Join('.', file.Split('.')[..2]);
    }

    private static void AssertWhole(string package)
    {
        var name = NameOf(package);
        using var archive = ZipFile.OpenRead(package);
        var entries = archive.Entries.Select(entry => entry.FullName).ToList();
        Assert.Contains($"lib/net10.0/{name}.dll", entries);
        Assert.Contains($"lib/net10.0/{name}.xml", entries);
        Assert.Contains("README.md", entries);
        Assert.Equal(name == "CowScsi.Engine", entries.Contains("lib/net10.0/FASTER.core.dll"));
        using (var manifest = archive.GetEntry(name + ".nuspec")!.Open())
        {
            var fields = XDocument.Load(manifest).Root!.Elements().Single().Elements().ToLookup(field => field.Name.LocalName);
            Assert.Equal("Apache-2.0", fields["license"].Single().Value);
            Assert.Equal("README.md", fields["readme"].Single().Value);
            Assert.True(fields["description"].Single().Value.Length > 40);
        }

        // The symbols hold the sources, and neither they nor the assembly the place they were built at.
        using var symbols = ZipFile.OpenRead(Path.ChangeExtension(package, ".snupkg"));
        var pdb = Bytes(symbols.GetEntry($"lib/net10.0/{name}.pdb"));
        using var provider = MetadataReaderProvider.FromPortablePdbStream(new MemoryStream(pdb));
        var reader = provider.GetMetadataReader();
        var paths = reader.Documents.Select(document => reader.GetString(reader.GetDocument(document).Name)).ToList();
        Assert.NotEmpty(paths);
        Assert.All(paths, path => Assert.StartsWith("/_/", path, StringComparison.Ordinal));
        var assembly = Bytes(archive.GetEntry($"lib/net10.0/{name}.dll"));
        Assert.True(assembly.AsSpan().IndexOf(Encoding.UTF8.GetBytes(SourceTree.Root)) < 0, $"{name}.dll names {SourceTree.Root}");
    }

    private static byte[] Bytes(ZipArchiveEntry? entry)
    {
        Assert.NotNull(entry);
        using var content = entry.Open();
        using var copy = new MemoryStream();
        content.CopyTo(copy);
        return copy.ToArray();
    }

    /// <summary>The readme's program, on a free port, with the packages of the feed and whatever other sources this machine has.</summary>
    private static void WriteProgram(string program, string feed)
    {
        var code = string.Join('\n', SourceTree.Read("docs/packages.md").Split('\n')
            .SkipWhile(line => !line.StartsWith("    using ", StringComparison.Ordinal))
            .TakeWhile(line => line.Length == 0 || line.StartsWith("    ", StringComparison.Ordinal)));
        Assert.Contains("IPAddress.Loopback, 3260", code, StringComparison.Ordinal);
        File.WriteAllText(Path.Combine(program, "Program.cs"), code.Replace("IPAddress.Loopback, 3260", "IPAddress.Loopback, 0", StringComparison.Ordinal));
        File.WriteAllText(Path.Combine(program, "nuget.config"), $"""
            <configuration><packageSources><add key="feed" value="{feed}" /></packageSources></configuration>
            """);
        // Packages go to a folder of the test's own, so that none of this version stays behind; those of others may be there already.
        var known = Environment.GetEnvironmentVariable("NUGET_PACKAGES") ?? Path.Combine(Environment.GetFolderPath(Environment.SpecialFolder.UserProfile), ".nuget/packages");
        var references = string.Concat(Names.Where(name => name is not ("CowScsi.Engine" or "CowScsi.Scsi" or "CowScsi.Layers"))
            .Select(name => $"""<PackageReference Include="{name}" Version="0.1.0" />"""));
        File.WriteAllText(Path.Combine(program, "program.csproj"), $"""
            <Project Sdk="Microsoft.NET.Sdk">
              <PropertyGroup>
                <OutputType>Exe</OutputType>
                <TargetFramework>net10.0</TargetFramework>
                <ImplicitUsings>enable</ImplicitUsings>
                <Nullable>enable</Nullable>
                <TreatWarningsAsErrors>true</TreatWarningsAsErrors>
                <RestorePackagesPath>{Path.Combine(program, "packages")}</RestorePackagesPath>
                <RestoreFallbackFolders>{(Directory.Exists(known) ? known : "")}</RestoreFallbackFolders>
              </PropertyGroup>
              <ItemGroup>{references}</ItemGroup>
            </Project>
            """);
    }

    private static async Task RunAsync(string directory, string program, params string[] words)
    {
        var start = new ProcessStartInfo(program, words)
        {
            WorkingDirectory = directory,
            Environment = { ["MSBUILDDISABLENODEREUSE"] = "1", ["DOTNET_CLI_USE_MSBUILD_SERVER"] = "0", ["DOTNET_NOLOGO"] = "1" },
        };
        // The test host sets some that would reach into the build of another program.
        foreach (var name in start.Environment.Keys.Where(name => name.StartsWith("MSBUILD", StringComparison.Ordinal) && name != "MSBUILDDISABLENODEREUSE").ToList())
            start.Environment.Remove(name);
        var (code, said) = await ClientProgram.RunAsync(start, Patience);
        Assert.True(code == 0, $"{program} {string.Join(' ', words)}: {said}");
    }
}
