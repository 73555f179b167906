namespace CowScsi.Engine;

/// <summary>
/// Shows what lies in a store's files, in whatever state they are: nothing is opened for writing, nothing is recovered, no lock is taken,
/// and a structure that is not valid is shown with the predicate that fails. Each call reads the files anew. Of a store that a process has
/// open it shows what has reached the files.
/// </summary>
public sealed partial class StoreInspector
{
    private const string SuperblockName = "superblock";
    private const string SegmentFolder = "segments";
    private const string MapFolder = "map";
    private const string LockName = "lock";

    private readonly string root;

    /// <summary>Throws <see cref="StoreError.NotFound"/> where there is no such directory, or nothing of a store in it.</summary>
    public StoreInspector(string path)
    {
        root = System.IO.Path.GetFullPath(path);
        if (!File.Exists(At(SuperblockName)) && !Directory.Exists(At(SegmentFolder)))
            throw new StoreException(StoreError.NotFound, $"no store at '{path}'; name another with --store");
    }

    /// <summary>True where a process of this machine has the store open, as /proc/locks tells.</summary>
    public bool IsInUse => File.Exists(At(LockName)) && FileLocks.IsLocked(At(LockName));

    /// <summary>Both slots of the superblock.</summary>
    public IReadOnlyList<InspectedPart> Superblock()
    {
        var newest = ReadSuperblock();
        var parts = new List<InspectedPart>();
        for (var i = 0; i < Engine.Superblock.SlotCount; i++)
        {
            var offset = i * Engine.Superblock.SizeBytes;
            var slot = ReadRange(SuperblockName, offset, Engine.Superblock.SizeBytes);
            if (slot.Length == Engine.Superblock.SizeBytes && !slot.AsSpan().ContainsAnyExcept((byte)0))
            {
                parts.Add(new InspectedPart($"superblock slot {i}: never written", At(SuperblockName), offset, slot.Length, null));
                continue;
            }

            var valid = Engine.Superblock.TryRead(slot, out var read, out var fault);
            var unknown = read.Incompatible & ~StoreFormat.IncompatibleKnown;
            parts.Add(new InspectedPart($"superblock slot {i}{(valid && read.Sequence == newest?.Sequence ? ", in force" : "")}", At(SuperblockName), offset, slot.Length, valid ? null : fault)
            {
                Fields = Engine.Superblock.Layout.Show(slot),
                Notes = !valid ? [] :
                [
                    ("state", read.State == StoreState.Clean ? "closed in order" : "open, or not closed in order"),
                    ("features", Features(read.Incompatible) + (unknown == 0 ? "" : $", unknown 0x{unknown:x}: this build does not open the store")),
                ],
                Bytes = slot,
            });
        }

        return parts;
    }

    private static string Features(ulong bits)
    {
        var names = new List<string>();
        foreach (var (bit, name) in new[]
        {
            (StoreFormat.FeatureLz4, "LZ4"), (StoreFormat.FeatureEncryption, "encryption"), (StoreFormat.FeatureReferences, "references"),
            (StoreFormat.FeatureKeyFiles, "key files"),
        })
        {
            if ((bits & bit) != 0)
                names.Add(name);
        }

        return names.Count == 0 ? "none" : string.Join(", ", names);
    }

    /// <summary>The slot in force; null where none is valid.</summary>
    private Superblock? ReadSuperblock()
    {
        Superblock? newest = null;
        for (var i = 0; i < Engine.Superblock.SlotCount; i++)
        {
            var slot = ReadRange(SuperblockName, i * Engine.Superblock.SizeBytes, Engine.Superblock.SizeBytes);
            if (Engine.Superblock.TryRead(slot, out var read, out _) && (newest is null || read.Sequence > newest.Value.Sequence))
                newest = read;
        }

        return newest;
    }

    private string At(string name) => System.IO.Path.Combine(root, name);

    /// <summary>Where a file of the store lies.</summary>
    public string PathOf(string name) => At(name);

    /// <summary>A range of a file of the store as far as the file reaches; nothing where there is no file.</summary>
    public byte[] ReadRange(string name, long offset, int length)
    {
        if (!File.Exists(At(name)))
            return [];
        using var file = LinuxFile.OpenRead(At(name));
        return ReadRange(file, offset, length);
    }

    private static byte[] ReadRange(LinuxFile file, long offset, int length)
    {
        var bytes = new byte[(int)Math.Clamp(file.LengthBytes - offset, 0, length)];
        var outcome = file.Read(bytes, offset);
        return outcome switch
        {
            FileOutcome.Success => bytes,
            FileOutcome.EndOfFile => [], // It was cut meanwhile.
            _ => throw new StoreException(StoreError.Io, $"cannot read '{file.Path}' at {offset}: {file.LastError}"),
        };
    }
}
