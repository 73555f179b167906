using System.Runtime.Versioning;
using System.Text.RegularExpressions;
using Xunit;

namespace CowScsi.Tests.Unit.Repository;

/// <summary>What a newcomer reads exists, and what it points at exists too.</summary>
[SupportedOSPlatform("linux")]
public sealed class DocumentTests
{
    private static readonly Regex Link = new(@"\]\((?<target>[^)\s]+)\)", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    private static readonly Regex MakeCommand = new(@"\bmake (?<target>[a-z]+)\b", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10));

    [Theory]
    [InlineData("README.md")]
    [InlineData("CONTRIBUTING.md")]
    [InlineData("LICENSE")]
    [InlineData("docs/architecture.md")]
    [InlineData("docs/iscsi.md")]
    [InlineData("docs/conformance.md")]
    [InlineData("docs/format.md")]
    [InlineData("docs/scsi.md")]
    [InlineData("docs/library.md")]
    [InlineData("docs/packages.md")]
    public void Document_Exists(string path)
    {
        Assert.True(File.Exists(Path.Combine(SourceTree.Root, path)), path + " is missing");
    }

    [Fact]
    public void Links_PointAtFilesThatExist()
    {
        var broken = from document in SourceTree.Files(".md")
                     from link in Link.Matches(SourceTree.Read(document))
                     let target = link.Groups["target"].Value.Split('#')[0]
                     where target.Length > 0 && !target.Contains("://", StringComparison.Ordinal) && !target.StartsWith("mailto:", StringComparison.Ordinal)
                     where !Path.Exists(Path.Combine(SourceTree.Root, Path.GetDirectoryName(document)!, target))
                     select $"{document}: {target}";
        SourceTree.AssertNone("links that lead nowhere", broken);
    }

    [Fact]
    public void MakeCommands_InCodeMarks_AreTargets()
    {
        var makefile = SourceTree.Read("Makefile");
        var unknown = from document in SourceTree.Files(".md")
                      from code in Regex.Matches(SourceTree.Read(document), "`(?<code>make [^`]*)`", RegexOptions.ExplicitCapture, TimeSpan.FromSeconds(10))
                      from command in MakeCommand.Matches(code.Groups["code"].Value)
                      let target = command.Groups["target"].Value
                      where !Regex.IsMatch(makefile, $"^{target}:", RegexOptions.Multiline, TimeSpan.FromSeconds(10))
                      select $"{document}: make {target}";
        SourceTree.AssertNone("commands that the Makefile does not have", unknown);
    }

    [Theory]
    [InlineData(".ci/run")]
    [InlineData("scripts/setup")]
    [InlineData("scripts/build")]
    [InlineData("scripts/pack")]
    [InlineData("scripts/test")]
    [InlineData("scripts/demo")]
    [InlineData("scripts/bench")]
    [InlineData("tests/conformance/run")]
    public void Script_IsExecutable(string path)
    {
        Assert.True(File.GetUnixFileMode(Path.Combine(SourceTree.Root, path)).HasFlag(UnixFileMode.UserExecute), path + " cannot be executed");
    }
}
