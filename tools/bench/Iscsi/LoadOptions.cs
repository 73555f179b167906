using System.Globalization;
using System.Net;

namespace CowScsi.Bench.Iscsi;

/// <summary>A load on a logical unit: what each session does, how many of them, and how long.</summary>
internal sealed class LoadOptions
{
    public const string Verb = "iscsi-load";

    public const string Usage =
        "vdisk-bench iscsi-load iscsi://HOST:PORT/TARGET/LUN [--sessions N] [--depth N] [--block BYTES] [--shift BYTES] [--seconds N] [--write] [--sequential] [--digests]";

    private const int SessionsMax = 64;
    private const int DepthMax = 128;
    private const int LogicalBlockBytes = 512;
    private const int BlockBytesMax = 1 << 20;

    public required IPEndPoint Portal { get; init; }

    public required string Target { get; init; }

    public required byte Lun { get; init; }

    public int Sessions { get; private set; } = 1;

    /// <summary>Commands that each session keeps outstanding.</summary>
    public int Depth { get; private set; } = 32;

    public int BlockBytes { get; private set; } = 4096;

    /// <summary>How far behind a multiple of the block's size each one begins.</summary>
    public int ShiftBytes { get; private set; }

    public double Seconds { get; private set; } = 3;

    public bool IsWrite { get; private set; }

    /// <summary>One block behind the other; otherwise blocks at random places, aligned to their size.</summary>
    public bool IsSequential { get; private set; }

    /// <summary>CRC32C over headers and data; what comes is checked.</summary>
    public bool WithDigests { get; private set; }

    public static LoadOptions? Parse(ReadOnlySpan<string> words)
    {
        if (words.IsEmpty || !Uri.TryCreate(words[0], UriKind.Absolute, out var url) || url.Scheme != "iscsi" ||
            !IPAddress.TryParse(url.DnsSafeHost, out var address))
            return null;
        var path = Uri.UnescapeDataString(url.AbsolutePath).Split('/', StringSplitOptions.RemoveEmptyEntries);
        if (path.Length != 2 || !byte.TryParse(path[1], CultureInfo.InvariantCulture, out var lun))
            return null;
        var options = new LoadOptions { Portal = new IPEndPoint(address, url.Port < 0 ? 3260 : url.Port), Target = path[0], Lun = lun };
        for (var i = 1; i < words.Length; i++)
        {
            var value = i + 1 < words.Length ? words[i + 1] : "";
            var number = double.TryParse(value, CultureInfo.InvariantCulture, out var parsed) ? parsed : 0;
            switch (words[i])
            {
                case "--write":
                    options.IsWrite = true;
                    continue;
                case "--sequential":
                    options.IsSequential = true;
                    continue;
                case "--digests":
                    options.WithDigests = true;
                    continue;
                case "--sessions" when number is >= 1 and <= SessionsMax:
                    options.Sessions = (int)number;
                    break;
                case "--depth" when number is >= 1 and <= DepthMax:
                    options.Depth = (int)number;
                    break;
                case "--block" when number is >= LogicalBlockBytes and <= BlockBytesMax && number % LogicalBlockBytes == 0:
                    options.BlockBytes = (int)number;
                    break;
                case "--shift" when number is >= 0 and < BlockBytesMax && number % LogicalBlockBytes == 0:
                    options.ShiftBytes = (int)number;
                    break;
                case "--seconds" when number > 0:
                    options.Seconds = number;
                    break;
                default:
                    return null;
            }

            i++;
        }

        return options;
    }
}
