using System.Globalization;
using System.Numerics;
using CowScsi.Layers;

namespace CowScsi.Bench;

/// <summary>The run did not do what it measured: a request failed, or data read back differ. No figure of it counts.</summary>
internal sealed class BenchException : Exception
{
    public BenchException(string message)
        : base(message)
    {
    }
}

/// <summary>A combination of layers under test.</summary>
internal sealed record Stack(string Name, Compression Compression, Encryption Encryption)
{
    public static readonly IReadOnlyList<Stack> All =
    [
        new("plain", Compression.None, Encryption.None),
        new("lz4", Compression.Lz4, Encryption.None),
        new("xts", Compression.None, Encryption.XtsAes256),
        new("lz4+xts", Compression.Lz4, Encryption.XtsAes256),
    ];
}

/// <summary>What to measure, and how long.</summary>
internal sealed class BenchOptions
{
    public const string Usage =
        "vdisk-bench [--dir DIRECTORY] [--seconds N] [--runs N] [--size-mib N] [--stacks plain,lz4,xts,lz4+xts|none] [--ring] [--vhost] [--copies] [--no-snapshots] [--random-writes-only] [--recovery-gib N] [--json FILE|-]";

    /// <summary>Where stores are made; removed afterwards.</summary>
    public string Directory { get; private set; } = Path.Combine(Path.GetTempPath(), "vdisk-bench");

    /// <summary>Length of one run of one job.</summary>
    public double RunSeconds { get; private set; } = 2;

    /// <summary>Runs a job; the median counts.</summary>
    public int Runs { get; private set; } = 3;

    /// <summary>Size of the disk, a power of two: random walks visit each block once before any block twice.</summary>
    public long DiskBytes { get; private set; } = 1L << 30;

    public IReadOnlyList<Stack> Stacks { get; private set; } = Stack.All;

    public bool WithSnapshots { get; private set; } = true;

    /// <summary>Also what a command costs in a TCMU ring.</summary>
    public bool WithRing { get; private set; }

    /// <summary>Also what a virtual machine gets through a vhost-user socket.</summary>
    public bool WithVhost { get; private set; }

    /// <summary>Also copies within a store: by reference, by SCSI commands, and by bytes.</summary>
    public bool WithCopies { get; private set; }

    /// <summary>Of a disk's jobs only "4 KiB random write": to put two builds beside each other.</summary>
    public bool RandomWritesOnly { get; private set; }

    /// <summary>What is written at random before the crash whose recovery is measured; 0 leaves that out.</summary>
    public long RecoveryBytes { get; private set; }

    /// <summary>This process is the one that writes into that directory until it is killed; null in the program that a user starts.</summary>
    public string? RecoveryWriter { get; private set; }

    /// <summary>Where the report goes as JSON; "-" is standard output; null is nowhere.</summary>
    public string? JsonPath { get; private set; }

    public bool IsJsonOnStandardOutput => JsonPath is "-";

    public static bool TryParse(string[] args, out BenchOptions options, out string complaint)
    {
        options = new BenchOptions();
        complaint = "";
        for (var i = 0; i < args.Length; i++)
        {
            if (args[i] is "--no-snapshots")
            {
                options.WithSnapshots = false;
                continue;
            }

            if (args[i] is "--vhost")
            {
                options.WithVhost = true;
                continue;
            }

            if (args[i] is "--ring")
            {
                options.WithRing = true;
                continue;
            }

            if (args[i] is "--copies")
            {
                options.WithCopies = true;
                continue;
            }

            if (args[i] is "--random-writes-only")
            {
                options.RandomWritesOnly = true;
                continue;
            }

            if (i + 1 == args.Length || !options.TrySet(args[i], args[i + 1]))
            {
                complaint = $"vdisk-bench: '{args[i]}' is not an option, or lacks an acceptable value";
                return false;
            }

            i++;
        }

        return true;
    }

    private bool TrySet(string option, string value)
    {
        switch (option)
        {
            case "--dir":
                Directory = Path.GetFullPath(value);
                return true;
            case "--json":
                JsonPath = value;
                return true;
            case "--seconds" when double.TryParse(value, CultureInfo.InvariantCulture, out var seconds) && seconds is > 0 and <= 3600:
                RunSeconds = seconds;
                return true;
            case "--runs" when int.TryParse(value, CultureInfo.InvariantCulture, out var runs) && runs is > 0 and <= 1000:
                Runs = runs;
                return true;
            case "--size-mib" when long.TryParse(value, CultureInfo.InvariantCulture, out var mib) && mib is >= 16 and <= 1 << 20 && BitOperations.IsPow2(mib):
                DiskBytes = mib << 20;
                return true;
            case "--recovery-gib" when long.TryParse(value, CultureInfo.InvariantCulture, out var gib) && gib is > 0 and <= 1024:
                RecoveryBytes = gib << 30;
                return true;
            case "--recovery-writer":
                RecoveryWriter = value;
                return true;
            case "--stacks" when value is "none":
                Stacks = [];
                return true;
            case "--stacks":
                var names = value.Split(',');
                Stacks = [.. Stack.All.Where(stack => names.Contains(stack.Name, StringComparer.Ordinal))];
                return Stacks.Count == names.Length;
            default:
                return false;
        }
    }
}
