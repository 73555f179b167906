using System.Security.Cryptography;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>What is wrong with a copy in a key file.</summary>
/// <param name="OffsetBytes">Of the copy.</param>
/// <param name="What">With its predicate in front where one does not hold.</param>
internal readonly record struct KeyFileFault(int OffsetBytes, string What)
{
    public override string ToString() => $"offset {OffsetBytes}: {What}";
}

/// <summary>
/// A set's key file, <c>keys/SET_ID</c> in the store's directory and outside of its log: the data key of the disks that share a set of key
/// slots, wrapped under their disk key. It is the one place of a store that is written over, so that a data key can be destroyed.
/// </summary>
/// <remarks>
/// Two halves of 8192 bytes. Generation g lies in half g mod 2, in two copies (<see cref="StoredKey"/>); the other half holds random bytes. The
/// key in force is that of the highest generation of which a copy is valid. docs/format.md, "Key file", says what each crash leaves.
/// Instances are not for several threads at once; failures are <see cref="StoreException"/>.
/// </remarks>
internal sealed class KeyFile
{
    internal const string Folder = "keys";
    internal const int SizeBytes = 2 * HalfBytes;
    private const int HalfBytes = CopiesOfOne * StoredKey.SizeBytes;
    private const int CopiesOfOne = 2;

    private readonly StoreDirectory directory;
    private readonly byte[] setId;
    private readonly List<KeyFileFault> faults = [];
    private bool isAnyOther;
    private bool isVersionUnknown;

    private KeyFile(StoreDirectory directory, ReadOnlySpan<byte> setId)
    {
        this.directory = directory;
        this.setId = setId.ToArray();
    }

    /// <summary>The key in force; null where no copy is valid.</summary>
    internal StoredKey? Current { get; private set; }

    /// <summary>Valid copies of the key in force: 2, or 1 where one is damaged.</summary>
    internal int ValidCopies { get; private set; }

    /// <summary>What is wrong with the copies that should be valid, with their offsets.</summary>
    internal IReadOnlyList<KeyFileFault> Faults => faults;

    /// <summary>True where the file still holds what looks like another key than the one in force: a replacement was cut off.</summary>
    internal bool IsReplacementCutOff => isAnyOther;

    internal string Name => NameOf(setId);

    private string FullName => System.IO.Path.Combine(directory.Path, Name);

    /// <summary>Relative to the store: the set's id in hexadecimal digits, below the folder.</summary>
    internal static string NameOf(ReadOnlySpan<byte> setId) => $"{Folder}/{Convert.ToHexStringLower(setId)}";

    /// <summary>Whether a file in the folder has the name of a key file.</summary>
    internal static bool IsName(string name) => name.Length == KeySlotTable.IdBytes * 2 && name.All(char.IsAsciiHexDigitLower);

    /// <summary>Makes the file of a new set: it is durable, under its name, when this returns.</summary>
    internal static void Create(StoreDirectory directory, StoredKey first)
    {
        directory.CreateFolder(Folder);
        directory.Sync("");
        var bytes = RandomNumberGenerator.GetBytes(SizeBytes);
        WriteCopies(first, bytes.AsSpan(OffsetOf(first.Generation), HalfBytes));
        using (var file = directory.Create(NameOf(first.SetId)))
            WriteDurably(file, bytes, 0);
        directory.Sync(Folder);
    }

    /// <summary>Reads the file as it is, and changes nothing. Throws where it is missing.</summary>
    /// <param name="whose">The disk, for messages.</param>
    internal static KeyFile Look(StoreDirectory directory, ReadOnlySpan<byte> setId, string whose)
    {
        var look = new KeyFile(directory, setId);
        if (!directory.Exists(look.Name))
        {
            throw new StoreException(
                StoreError.Corrupt,
                $"the key file '{look.FullName}' of {whose} is missing, and nothing can be read without it: restore it from a copy of the store");
        }

        using var file = directory.Open(look.Name, writable: false);
        look.Read(file);
        return look;
    }

    /// <summary>
    /// Reads the file for use. What a crash cut off is brought to its end before this returns: the key in force is durable in both copies, and
    /// any other is destroyed. Throws where no copy is valid, with the predicates that fail.
    /// </summary>
    internal static KeyFile Open(StoreDirectory directory, ReadOnlySpan<byte> setId, string whose)
    {
        var found = Look(directory, setId, whose);
        if (found.isVersionUnknown)
            throw new StoreException(StoreError.Unsupported, $"the key file '{found.FullName}' is of a version that this build does not know: use a newer vdisk");
        if (found.Current is not { } current)
        {
            throw new StoreException(
                StoreError.Corrupt,
                $"the key file '{found.FullName}' of {whose} is damaged ({string.Join("; ", found.faults)}), and nothing can be read without it: " +
                "restore it from a copy of the store");
        }

        if (!found.isAnyOther)
            return found;
        using (var file = directory.Open(found.Name, writable: true))
            found.Finish(file, current);
        return found;
    }

    /// <summary>Writes a damaged copy anew from the valid one; false where there is nothing to mend, or nothing to mend it with.</summary>
    internal bool Mend()
    {
        if (isVersionUnknown || Current is not { } current || (ValidCopies == CopiesOfOne && !isAnyOther))
            return false;
        using var file = directory.Open(Name, writable: true);
        Finish(file, current);
        return true;
    }

    /// <summary>
    /// Puts the next generation beside the one in force, durably. Where that fails it is taken back; where that fails as well
    /// <paramref name="isUnknown"/> says that nobody knows which of the two the next opening finds. Throws in both cases.
    /// </summary>
    internal void Add(StoredKey next, out bool isUnknown)
    {
        isUnknown = false;
        using var file = directory.Open(Name, writable: true);
        try
        {
            WriteGeneration(file, next);
        }
        catch (StoreException)
        {
            isUnknown = true;
            DestroyHalf(file, next.Generation);
            isUnknown = false;
            throw;
        }

        isAnyOther = true;
        Current = next;
        ValidCopies = CopiesOfOne;
    }

    /// <summary>Destroys the generation before the one in force: it is gone from the file when this returns.</summary>
    internal void DestroyOlder()
    {
        using var file = directory.Open(Name, writable: true);
        DestroyHalf(file, Current!.Generation + 1);
        isAnyOther = false;
    }

    /// <summary>Destroys what a file of the folder holds, then the file. One that is not there is no error.</summary>
    internal static void Destroy(StoreDirectory directory, string name)
    {
        var path = $"{Folder}/{name}";
        if (!directory.Exists(path))
            return;
        using (var file = directory.Open(path, writable: true))
            WriteDurably(file, RandomNumberGenerator.GetBytes(SizeBytes), 0);
        directory.Delete(path);
        directory.Sync(Folder);
    }

    /// <summary>The four places of a copy, for showing: what lies in the half, and where.</summary>
    internal static IEnumerable<(int Half, int Offset)> Places()
    {
        for (var half = 0; half < 2; half++)
        {
            for (var copy = 0; copy < CopiesOfOne; copy++)
                yield return (half, (half * HalfBytes) + (copy * StoredKey.SizeBytes));
        }
    }

    /// <summary>The key may be in the page cache only, or in one copy: it is made durable in both before any other goes.</summary>
    private void Finish(StoreFile file, StoredKey current)
    {
        WriteGeneration(file, current);
        DestroyHalf(file, current.Generation + 1);
        isAnyOther = false;
        ValidCopies = CopiesOfOne;
        faults.Clear();
    }

    private void Read(StoreFile file)
    {
        var keys = new StoredKey?[2];
        var valid = new int[2];
        var magic = new bool[2];
        var mixed = new bool[2];
        var bad = new List<KeyFileFault>[] { [], [] };
        var bytes = new byte[StoredKey.SizeBytes];
        foreach (var (half, offset) in Places())
        {
            if (file.Read(bytes, offset) != FileOutcome.Success)
            {
                bad[half].Add(new KeyFileFault(offset, "it cannot be read"));
                continue;
            }

            magic[half] |= StoredKey.HasMagic(bytes);
            if (!StoredKey.TryRead(bytes, setId, half, out var key, out var violation))
            {
                bad[half].Add(new KeyFileFault(offset, violation));
                isVersionUnknown |= violation.StartsWith("F2", StringComparison.Ordinal);
            }
            else if (keys[half] is not { } other || key!.Generation > other.Generation)
            {
                // Copies of different generations in one half: a write over what had not been destroyed was cut off. The newer one counts.
                if (keys[half] is not null)
                    bad[half].Add(new KeyFileFault(offset - StoredKey.SizeBytes, "it is of an earlier generation"));
                mixed[half] |= keys[half] is not null;
                (keys[half], valid[half]) = (key, 1);
            }
            else if (key.Generation == other.Generation)
            {
                valid[half]++;
            }
            else
            {
                bad[half].Add(new KeyFileFault(offset, "it is of an earlier generation"));
                mixed[half] = true;
            }
        }

        var current = keys[0] is null || keys[1] is { } second && second.Generation > keys[0]!.Generation ? 1 : 0;
        Current = keys[current];
        ValidCopies = valid[current];
        isAnyOther = Current is not null && (magic[1 - current] || mixed[current]);
        if (Current is null)
            faults.AddRange(bad[0]);
        faults.AddRange(bad[current]);
    }

    private static int OffsetOf(ulong generation) => (int)(generation & 1) * HalfBytes;

    private static void WriteCopies(StoredKey key, Span<byte> half)
    {
        for (var at = 0; at < HalfBytes; at += StoredKey.SizeBytes)
            key.Write(half[at..]);
    }

    /// <summary>One copy after the other: also where both are written anew, one of them is whole at any moment.</summary>
    private static void WriteGeneration(StoreFile file, StoredKey key)
    {
        var bytes = new byte[StoredKey.SizeBytes];
        key.Write(bytes);
        for (var at = 0; at < HalfBytes; at += StoredKey.SizeBytes)
            WriteDurably(file, bytes, OffsetOf(key.Generation) + at);
    }

    private static void DestroyHalf(StoreFile file, ulong generation) => WriteDurably(file, RandomNumberGenerator.GetBytes(HalfBytes), OffsetOf(generation));

    private static void WriteDurably(StoreFile file, ReadOnlySpan<byte> bytes, long offset)
    {
        var outcome = file.Write(bytes, offset);
        if (outcome == FileOutcome.Success)
            outcome = file.Flush();
        if (outcome != FileOutcome.Success)
            throw new StoreException(outcome == FileOutcome.OutOfSpace ? StoreError.OutOfSpace : StoreError.Io, $"cannot write '{file.Path}': {file.LastError}");
    }
}
