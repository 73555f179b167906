using System.Diagnostics;
using System.Globalization;
using FsCheck;
using FsCheck.Fluent;
using Microsoft.FSharp.Core;
using Xunit.Abstractions;
using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>
/// Runs a property, one FsCheck run a case, so that a case is named by one number. First the committed seeds of seeds.txt, then a fixed
/// number of cases whose seeds follow from the property's name: a run is the same on every machine. COWSCSI_SEED runs that one case
/// alone; COWSCSI_SOAK_SECONDS goes on with fresh seeds, each printed when it fails.
/// </summary>
internal static class PropertyRun
{
    private const string SeedVariable = "COWSCSI_SEED";
    private const string SoakVariable = "COWSCSI_SOAK_SECONDS";

    /// <summary>Shares the soak time among this many properties, which run one after another in their classes.</summary>
    private const int SoakShares = 24;

    /// <param name="name">Names the property in messages and in seeds.txt; its seeds follow from it.</param>
    /// <param name="inputs">Of one case.</param>
    /// <param name="law">Throws where it does not hold.</param>
    /// <param name="cases">Beside the committed ones.</param>
    /// <param name="output">Takes a line at the end.</param>
    /// <param name="soakShares">Of the soak's seconds this property takes one in so many.</param>
    public static void Check<T>(string name, Arbitrary<T> inputs, Action<T> law, int cases, ITestOutputHelper output, int soakShares = SoakShares)
    {
        if (Environment.GetEnvironmentVariable(SeedVariable) is { Length: > 0 } chosen)
        {
            CheckOne(name, inputs, law, ulong.Parse(chosen, CultureInfo.InvariantCulture));
            output.WriteLine($"{name}: seed {chosen} holds");
            return;
        }

        var clock = Stopwatch.StartNew();
        var run = 0;
        foreach (var seed in CommittedSeeds(name))
        {
            CheckOne(name, inputs, law, seed);
            run++;
        }

        var first = SeedOf(name);
        for (var i = 0; i < cases; i++, run++)
            CheckOne(name, inputs, law, first + (ulong)i);
        var soak = TimeSpan.FromSeconds(double.Parse(Environment.GetEnvironmentVariable(SoakVariable) ?? "0", CultureInfo.InvariantCulture) / soakShares);
        for (var seed = (ulong)Stopwatch.GetTimestamp(); clock.Elapsed < soak; seed++, run++)
            CheckOne(name, inputs, law, seed);
        output.WriteLine($"{name}: {run} cases from seed {first} in {clock.Elapsed.TotalSeconds:F1} s");
    }

    /// <summary>FNV-1a of the name: the seeds of one property do not change when another is added.</summary>
    public static ulong SeedOf(string name)
    {
        var hash = 14695981039346656037UL;
        foreach (var letter in name)
            hash = (hash ^ letter) * 1099511628211UL;
        return hash >> 16;
    }

    private static void CheckOne<T>(string name, Arbitrary<T> inputs, Action<T> law, ulong seed)
    {
        const int Size = 50;
        var config = Config.QuickThrowOnFailure
            .WithQuietOnSuccess(true)
            .WithMaxTest(1)
            .WithReplay(FSharpOption<Replay>.Some(new Replay(new Rnd(seed), FSharpOption<int>.Some(Size))));
        try
        {
            FsCheck.Check.One(config, Prop.ForAll(inputs, law));
        }
        catch (Exception failure)
        {
            throw new XunitException($"'{name}' does not hold; {SeedVariable}={seed} replays it (and belongs into tests/property/seeds.txt)", failure);
        }
    }

    private static IEnumerable<ulong> CommittedSeeds(string name)
    {
        foreach (var line in File.ReadLines(Path.Combine(AppContext.BaseDirectory, "seeds.txt")))
        {
            var words = line.Split(' ', StringSplitOptions.RemoveEmptyEntries);
            if (words.Length >= 2 && words[0] == name)
                yield return ulong.Parse(words[1], CultureInfo.InvariantCulture);
        }
    }
}
