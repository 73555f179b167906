using System.Formats.Tar;
using System.Globalization;
using System.IO.Compression;
using System.Security.Cryptography;
using CowScsi.Layers;
using CowScsi.Tests.Unit.Repository;

namespace CowScsi.Tests.Unit.Format;

/// <summary>A disk or snapshot of a golden store, and what it must read as.</summary>
internal sealed record GoldenContent(string Store, string Address, long SizeBytes, string Sha256)
{
    public override string ToString() => string.Create(CultureInfo.InvariantCulture, $"{Store} {Address} {SizeBytes} {Sha256}");

    public static GoldenContent Parse(string line)
    {
        var words = line.Split(' ');
        return new GoldenContent(words[0], words[1], long.Parse(words[2], CultureInfo.InvariantCulture), words[3]);
    }

    public static GoldenContent Of(string store, string address, byte[] bytes) =>
        new(store, address, bytes.Length, Convert.ToHexStringLower(SHA256.HashData(bytes)));
}

/// <summary>
/// The small stores of format version 1 in tests/format/golden: how each is made, packed and unpacked, and the manifest of what they hold.
/// tests/format/make-golden makes the files; the tests make the stores anew each time and hold them against the manifest, too.
/// </summary>
internal static class GoldenStores
{
    private const int PageBytes = 65536;
    private const int DiskBytes = 1 << 20;

    private static readonly Dictionary<string, Action<SampleStore, string>> Recipes = new(StringComparer.Ordinal)
    {
        ["plain"] = MakePlain,
        ["lz4-xts"] = MakeLayered,
        ["line"] = MakeLine,
        ["zeros"] = MakeZeros,
        ["crashed"] = MakeCrashed,
        ["no-map"] = MakeWithoutMap,
        ["copies"] = MakeCopies,
        ["erased"] = MakeErased,
    };

    public static IEnumerable<string> Names => Recipes.Keys;

    public static string Folder => Path.Combine(SourceTree.Root, "tests/format/golden");

    public static IEnumerable<GoldenContent> Manifest() => ManifestLines(Path.Combine(Folder, "manifest.txt"));

    public static void Make(string name, string directory)
    {
        using var store = new SampleStore(directory, Array.IndexOf([.. Recipes.Keys], name) + 1);
        Recipes[name](store, directory);
    }

    /// <summary>Nothing goes in that differs without need: no owner, no times, no lock file with a process and a machine in it.</summary>
    public static void Pack(string directory, string archive)
    {
        using var file = File.Create(archive);
        using var zip = new GZipStream(file, CompressionLevel.SmallestSize);
        using var tar = new TarWriter(zip, TarEntryFormat.Ustar);
        foreach (var path in Directory.EnumerateFiles(directory, "*", SearchOption.AllDirectories).Order(StringComparer.Ordinal))
        {
            var name = Path.GetRelativePath(directory, path);
            if (name == "lock")
                continue;
            using var content = File.OpenRead(path);
            tar.WriteEntry(new UstarTarEntry(TarEntryType.RegularFile, name)
            {
                DataStream = content,
                Mode = UnixFileMode.UserRead | UnixFileMode.UserWrite,
                ModificationTime = DateTimeOffset.UnixEpoch,
            });
        }
    }

    public static void Unpack(string name, string directory)
    {
        Directory.CreateDirectory(directory);
        using var file = File.OpenRead(Path.Combine(Folder, name + ".tar.gz"));
        using var zip = new GZipStream(file, CompressionMode.Decompress);
        TarFile.ExtractToDirectory(zip, directory, overwriteFiles: false);
    }

    private static IEnumerable<GoldenContent> ManifestLines(string path) =>
        File.ReadLines(path).Where(static line => line.Length > 0 && line[0] != '#').Select(GoldenContent.Parse);

    private static void MakePlain(SampleStore store, string directory)
    {
        store.Create("small-blocks", DiskBytes);
        store.Create("large-blocks", DiskBytes, logicalBlockBytes: 4096);
        store.Write("small-blocks", 0, PageBytes);
        store.Write("small-blocks", 7 * 512, 512);
        store.Write("small-blocks", PageBytes - 512, 1024);
        store.Write("small-blocks", DiskBytes - 512, 512);
        store.Write("large-blocks", 3 * 4096, 30 * 4096);
        store.Write("large-blocks", 8 * 4096, 4096);
        store.CloseStore();
    }

    private static void MakeLayered(SampleStore store, string directory)
    {
        store.Create("lz4", DiskBytes, Compression.Lz4);
        store.Create("xts", DiskBytes, encryption: Encryption.XtsAes256);
        store.Create("lz4-xts", DiskBytes, Compression.Lz4, Encryption.XtsAes256, logicalBlockBytes: 4096);
        foreach (var disk in new[] { "lz4", "xts", "lz4-xts" })
        {
            store.Write(disk, 4096, 24 * 1024);
            store.Write(disk, 12 * 4096, 8192);
        }

        store.Write("xts", 1024, 512);
        store.Disks.CreateSnapshot("lz4-xts", "s");
        store.Disks.Clone("lz4-xts", "s", "clone");
        store.Write("clone", 8192, 4096);
        store.CloseStore();
    }

    private static void MakeLine(SampleStore store, string directory)
    {
        store.Create("d", DiskBytes);
        store.Write("d", 0, 3 * PageBytes / 2);
        store.Disks.CreateSnapshot("d", "a");
        store.Write("d", PageBytes, 8192);
        store.Disks.CreateSnapshot("d", "b");
        store.Disks.Clone("d", "b", "c");
        store.Write("c", 4096, 12_288);
        store.Disks.CreateSnapshot("c", "a");
        store.Disks.Clone("c", "a", "cc");
        store.Write("cc", 512, 512);
        store.Write("d", 0, 4096);
        store.Disks.CreateSnapshot("d", "gone");
        store.Write("d", 4096, 4096);
        store.Disks.DeleteSnapshot("d", "gone");
        store.Disks.ResizeDisk("d", PageBytes, allowShrink: true);
        store.Disks.CreateSnapshot("d", "short");
        store.Disks.ResizeDisk("d", 2 * PageBytes, allowShrink: false);

        // Segments that nothing points into any more are removed: the log has a gap.
        store.Create("churn", DiskBytes);
        for (var time = 0; time < 4; time++)
        {
            store.WriteText("churn", 0, DiskBytes);
            store.Disks.Store.Checkpoint();
        }

        store.Delete("churn");
        store.CloseStore();
    }

    private static void MakeZeros(SampleStore store, string directory)
    {
        store.Create("d", 3 * DiskBytes);
        store.Write("d", 0, 2 * PageBytes);
        store.Disks.CreateSnapshot("d", "full");
        for (var page = 0; page < 40; page++)
            store.Zero("d", page * PageBytes, PageBytes - 4096);
        store.Disks.CreateSnapshot("d", "zeroed");
        store.Write("d", PageBytes, 512);
        store.Discard("d", 0, 3 * DiskBytes);
        store.Write("d", DiskBytes + 512, 512);
        store.Create("untouched", DiskBytes);
        store.CloseStore();
    }

    /// <summary>Nothing was closed, and power failed in the middle of the last batch: what it held was never durable.</summary>
    private static void MakeCrashed(SampleStore store, string directory)
    {
        store.Create("d", DiskBytes, Compression.Lz4);
        store.Write("d", 0, 20_480);
        store.Disks.CreateSnapshot("d", "s");
        store.Write("d", 4096, 4096);
        store.Flush("d");
        store.Write("d", 8192, 4096);
        store.Flush("d");
        store.Crash();
        TornTail.Tear(directory);
    }

    /// <summary>References, to extents of all kinds, of a disk that is gone, and of a segment that holds nothing else that counts.</summary>
    private static void MakeCopies(SampleStore store, string directory)
    {
        store.Create("raw", DiskBytes);
        store.Create("lz4", DiskBytes, Compression.Lz4);
        store.Create("xts", DiskBytes, encryption: Encryption.XtsAes256);
        store.Create("to", DiskBytes);
        store.Write("raw", 0, 2 * PageBytes);
        store.Zero("raw", 4096, 8192);
        store.WriteText("lz4", 4096, 40_960);
        store.Write("xts", 0, 3 * 4096);
        store.Disks.CreateSnapshot("xts", "s");
        store.Disks.Clone("xts", "s", "clone");

        store.Copy("raw", 0, "to", 5 * 4096, PageBytes);
        store.Copy("lz4", 8192, "to", 6 * PageBytes, 16_384);
        store.Copy("to", 6 * 4096, "to", 10 * PageBytes, 8 * 4096);
        store.Copy("xts", 4096, "clone", 9 * 4096, 8192);
        store.Copy("xts", 512, "to", 12 * PageBytes, 4096);
        store.Disks.CreateSnapshot("to", "full");
        store.Copy("raw", PageBytes, "to", 6 * 4096, 8192);
        store.Delete("raw");
        store.Write("to", 8 * 4096, 4096);

        // The references' segment is left with nothing but them.
        store.Create("churn", DiskBytes);
        for (var time = 0; time < 4; time++)
        {
            store.WriteText("churn", 0, DiskBytes);
            store.Disks.Store.Checkpoint();
        }

        store.Delete("churn");
        store.CloseStore();
    }

    /// <summary>Key files of several generations; extents of keys that are gone lie in the log.</summary>
    private static void MakeErased(SampleStore store, string directory)
    {
        store.Create("first", DiskBytes, encryption: Encryption.XtsAes256);
        store.Create("third", DiskBytes, Compression.Lz4, Encryption.XtsAes256);
        store.Write("first", 4096, 12_288);
        for (var time = 0; time < 2; time++)
        {
            store.Write("third", 0, 2 * PageBytes);
            store.EraseKey("third", DiskBytes);
        }

        store.Write("third", PageBytes - 4096, 24 * 1024);
        store.Disks.CreateSnapshot("third", "s");
        store.Disks.Clone("third", "s", "clone");
        store.Write("clone", 512, 4096);
        store.Create("gone", DiskBytes, encryption: Encryption.XtsAes256);
        store.Write("gone", 0, 4096);
        store.Delete("gone");
        store.CloseStore();
    }

    private static void MakeWithoutMap(SampleStore store, string directory)
    {
        store.Create("d", DiskBytes);
        store.Write("d", 0, 40_960);
        store.Disks.CreateSnapshot("d", "s");
        store.Write("d", 4096, 4096);
        store.CloseStore();
        Directory.Delete(Path.Combine(directory, "map"), recursive: true);
        foreach (var path in Directory.EnumerateFiles(directory, "checkpoint-*"))
            File.Delete(path);
    }
}
