using System.Globalization;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Each parser of outside bytes, fuzzed for about a second, or, with COWSCSI_SOAK_SECONDS, for its share of that time with a fresh seed.
/// COWSCSI_SEED chooses the seed. A defect's input is written into the folder for temporary files; it belongs into corpus/, where
/// <see cref="CommittedInput_IsHandled"/> replays it.
/// </summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    private const string SeedVariable = "COWSCSI_SEED";
    private const string SoakVariable = "COWSCSI_SOAK_SECONDS";
    private const double SecondsEach = 0.7;

    /// <summary>An image is a file, and takes a hundred times longer than a structure in memory.</summary>
    private const double SecondsOfImages = 2.5;

    /// <summary>A session with its rings is threads and mappings.</summary>
    private const double SecondsOfSessions = 3;

    /// <summary>Shares of the soak time: one a target, and the whole store and the iSCSI server count for as many as four each.</summary>
    internal const int SoakShares = 29;

    private static readonly Instrumented Instrumented = new();

    public static TheoryData<string> Targets()
    {
        var names = new TheoryData<string>();
        foreach (var target in FuzzTargets.All())
        {
            names.Add(target.Name);
            target.Dispose();
        }

        return names;
    }

    public static TheoryData<string> CommittedInputs()
    {
        var files = new TheoryData<string>();
        foreach (var file in Directory.EnumerateFiles(CorpusFolder, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
            files.Add(Path.GetRelativePath(CorpusFolder, file));
        return files;
    }

    private static string CorpusFolder => Path.Combine(AppContext.BaseDirectory, "corpus");

    /// <summary>Seconds of a soak, or null.</summary>
    internal static double? SoakSeconds =>
        Environment.GetEnvironmentVariable(SoakVariable) is { Length: > 0 } text ? double.Parse(text, CultureInfo.InvariantCulture) : null;

    /// <summary>The chosen seed; else a fixed one for a run that is the same everywhere, or a fresh one in a soak.</summary>
    internal static int Seed =>
        Environment.GetEnvironmentVariable(SeedVariable) is { Length: > 0 } chosen ? int.Parse(chosen, CultureInfo.InvariantCulture) : SoakSeconds is null ? 1 : Environment.TickCount;

    [Theory]
    [MemberData(nameof(Targets))]
    public void Parser_NeitherThrowsNorHangsNorTakesWhatIsWrong(string target)
    {
        var run = Instrumented.Fuzz.GetType(typeof(FuzzLoop).FullName!)!.GetMethod(nameof(FuzzLoop.Run))!;
        var seconds = SoakSeconds / SoakShares ?? (target == "qcow2" ? SecondsOfImages : target.StartsWith("vhost", StringComparison.Ordinal) ? SecondsOfSessions : SecondsEach);
        var report = ((string)run.Invoke(null, [target, seconds, Seed, Path.Combine(CorpusFolder, FolderOf(target))])!).Split('\n');
        if (report[0].StartsWith("DEFECT", StringComparison.Ordinal))
        {
            var path = Path.Combine(Path.GetTempPath(), $"cowscsi-fuzz-{FolderOf(target)}-{Guid.NewGuid():n}");
            File.WriteAllBytes(path, Convert.FromBase64String(report[1]));
            Assert.Fail($"{report[0]}\nthe input is in {path}");
        }

        output.WriteLine($"{report[0]} (of {Instrumented.Blocks} blocks in all parsers and around them)");
        Assert.Contains(" executions", report[0], StringComparison.Ordinal);
    }

    /// <summary>Inputs that were a defect once, or reach far: on the parsers as they ship, not on their instrumented copies.</summary>
    [Theory]
    [MemberData(nameof(CommittedInputs))]
    public void CommittedInput_IsHandled(string file)
    {
        using var target = FuzzTargets.All().Single(target => FolderOf(target.Name) == Path.GetDirectoryName(file));
        output.WriteLine(FuzzLoop.Replay(target, File.ReadAllBytes(Path.Combine(CorpusFolder, file))));
    }

    [Theory]
    [MemberData(nameof(Targets))]
    public void Seeds_AreTaken(string name)
    {
        using var target = FuzzTargets.All().Single(target => target.Name == name);
        foreach (var seed in target.Seeds())
            Assert.StartsWith("accepted", FuzzLoop.Replay(target, seed), StringComparison.Ordinal);
    }

    private static string FolderOf(string target) => target.Replace(' ', '-');
}
