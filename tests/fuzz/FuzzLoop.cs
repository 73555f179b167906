using System.Diagnostics;
using System.Globalization;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// Runs one target for a time. What an input shows that none showed before - an edge of the parser's code, or an answer - makes it a starting
/// point of further changes. Runs in the copy of this assembly that is bound to the instrumented parsers; see <see cref="Instrumented"/>.
/// </summary>
public static class FuzzLoop
{
    /// <summary>Inputs that are kept as starting points; beyond it one is replaced at random.</summary>
    private const int PoolMax = 4096;

    /// <summary>The same for their bytes: images are large.</summary>
    private const long PoolBytesMax = 64 << 20;

    /// <summary>An input that is not done in this time hangs: the slowest takes milliseconds.</summary>
    private static readonly TimeSpan HangLimit = TimeSpan.FromSeconds(30);

    private static byte[] current = [];
    private static long executions;

    /// <summary>
    /// Answers a line that sums up; where it begins with "DEFECT", what stands behind the first line is the input in base64.
    /// </summary>
    /// <param name="name">The target's name.</param>
    /// <param name="seconds">How long to go on; the seeds and the committed inputs are run in any case.</param>
    /// <param name="seed">Of all that is random.</param>
    /// <param name="committed">Folder of committed inputs of this target.</param>
    public static string Run(string name, double seconds, int seed, string committed)
    {
        var answer = "";
        var thread = new Thread(() => answer = RunHere(name, seconds, seed, committed)) { IsBackground = true, Name = "fuzz " + name };
        thread.Start();
        for (var last = -1L; !thread.Join(HangLimit);)
        {
            var now = Interlocked.Read(ref executions);
            if (now == last)
                return $"DEFECT {name}, seed {seed}: an input hangs\n{Convert.ToBase64String(Volatile.Read(ref current))}";
            last = now;
        }

        return answer;
    }

    private static string RunHere(string name, double seconds, int seed, string committed)
    {
        using var target = FuzzTargets.All().Single(target => target.Name == name);
        var random = new Random(seed);
        var mutator = new Mutator(random, target);
        var pool = new List<byte[]>();
        var words = new Dictionary<string, long>(StringComparer.Ordinal);
        var count = 0L;
        var poolBytes = 0L;
        var clock = Stopwatch.StartNew();
        try
        {
            var first = target.Seeds().ToList();
            if (Directory.Exists(committed))
                first.AddRange(Directory.EnumerateFiles(committed).Order(StringComparer.Ordinal).Select(File.ReadAllBytes));
            foreach (var input in first)
            {
                Try(target, input, words);
                pool.Add(input);
                count++;
            }

            for (; clock.Elapsed.TotalSeconds < seconds; count++)
            {
                var input = mutator.Mutate(pool[random.Next(pool.Count)], pool[random.Next(pool.Count)]);
                if (!Try(target, input, words))
                    continue;
                if (pool.Count < PoolMax && poolBytes + input.Length <= PoolBytesMax)
                {
                    pool.Add(input);
                    poolBytes += input.Length;
                }
                else if (pool.Count > first.Count)
                {
                    pool[random.Next(first.Count, pool.Count)] = input;
                }
            }
        }
        catch (Exception defect)
        {
            return $"DEFECT {name}, seed {seed}, execution {count}: {defect.GetType().Name}: {defect.Message} {defect.StackTrace?.ReplaceLineEndings(" ")}\n{Convert.ToBase64String(current)}";
        }

        var accepted = words.Where(static word => word.Key.StartsWith("accepted", StringComparison.Ordinal)).Sum(static word => word.Value);
        return string.Create(
            CultureInfo.InvariantCulture,
            $"{name}: {count} executions in {clock.Elapsed.TotalSeconds:F1} s, {accepted} accepted, {words.Count} kinds of answer, {BranchMap.Count} edges, {pool.Count} inputs kept, seed {seed}");
    }

    /// <summary>Runs one input as a committed one: for the tests that replay them. Throws what it shows.</summary>
    internal static string Replay(FuzzTarget target, byte[] input)
    {
        var words = new Dictionary<string, long>(StringComparer.Ordinal);
        Try(target, input, words);
        return words.Keys.Single();
    }

    /// <summary>True where the input showed something new.</summary>
    private static bool Try(FuzzTarget target, byte[] input, Dictionary<string, long> words)
    {
        Volatile.Write(ref current, input);
        Interlocked.Increment(ref executions);
        BranchMap.Begin();
        var before = GC.GetAllocatedBytesForCurrentThread();
        var word = target.Execute(input);
        var allocated = GC.GetAllocatedBytesForCurrentThread() - before;
        if (allocated > target.AllocatedBytesMax(input.Length))
            throw new FuzzDefect($"{allocated} bytes were allocated for an input of {input.Length}, at most {target.AllocatedBytesMax(input.Length)} may be");
        var isNew = BranchMap.Fresh > 0 || !words.ContainsKey(word);
        words[word] = words.GetValueOrDefault(word) + 1;
        return isNew;
    }
}
