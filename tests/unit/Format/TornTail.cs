using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>What a power cut may do to a log whose last batch no other batch names as durable.</summary>
internal static class TornTail
{
    private const int SectorBytes = 512;
    private const int HeaderBytes = 4096;

    /// <summary>The last 512 bytes that hold anything are lost.</summary>
    public static void Tear(string directory)
    {
        foreach (var path in Directory.EnumerateFiles(Path.Combine(directory, "segments")).OrderDescending(StringComparer.Ordinal))
        {
            var last = File.ReadAllBytes(path).AsSpan().LastIndexOfAnyExcept((byte)0);
            if (last < HeaderBytes)
                continue; // A spare: it has a header only.
            using var file = new FileStream(path, FileMode.Open, FileAccess.Write);
            file.Position = last / SectorBytes * SectorBytes;
            file.Write(new byte[SectorBytes]);
            return;
        }

        Assert.Fail("no segment holds a batch");
    }
}
