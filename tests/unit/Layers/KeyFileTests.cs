using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

/// <summary>A key file by itself: what is read, refused, mended and destroyed. (Each crash of it is in tests/property/Keys.)</summary>
public sealed class KeyFileTests : IDisposable
{
    private const int HalfBytes = 8192;
    private const int CopyBytes = 4096;

    private static readonly byte[] Set = Convert.FromHexString("0123456789abcdef0123456789abcdef");

    private readonly string folder = Directory.CreateTempSubdirectory("cowscsi-keys-").FullName;
    private readonly LockedKey diskKey = LockedKey.Generate();
    private readonly LinuxDirectory directory;

    public KeyFileTests() => directory = new LinuxDirectory(folder);

    private string FilePath => Path.Combine(folder, "keys", Convert.ToHexStringLower(Set));

    public void Dispose()
    {
        diskKey.Dispose();
        Directory.Delete(folder, recursive: true);
    }

    [Fact]
    public void ANewFile_HasItsKeyTwice_AndOpensWithItsDiskKeyOnly()
    {
        var stored = Create(out var key);
        using (key)
        {
            var file = KeyFile.Open(directory, Set, "disk 'a'");
            Assert.Equal((1UL, 2, stored.KeyId), (file.Current!.Generation, file.ValidCopies, file.Current.KeyId));
            using var opened = file.Current.TryUnwrap(diskKey);
            Assert.True(opened!.Bytes.SequenceEqual(key.Bytes));
            using var other = LockedKey.Generate();
            Assert.Null(file.Current.TryUnwrap(other));
        }

        var bytes = File.ReadAllBytes(FilePath);
        Assert.Equal(4 * CopyBytes, bytes.Length);
        Assert.Equal(bytes.AsSpan(HalfBytes, CopyBytes), bytes.AsSpan(HalfBytes + CopyBytes));
        Assert.True(bytes.AsSpan(0, HalfBytes).ContainsAnyExcept((byte)0));
        Assert.Equal(UnixFileMode.UserRead | UnixFileMode.UserWrite, File.GetUnixFileMode(FilePath));
    }

    [Fact]
    public void Replacing_LeavesNothingOfTheOldKey()
    {
        Create(out var key);
        key.Dispose();
        var old = File.ReadAllBytes(FilePath);
        for (ulong generation = 2; generation <= 4; generation++)
        {
            var file = KeyFile.Open(directory, Set, "disk 'a'");
            var next = StoredKey.Wrap(diskKey, Set, generation, firstExtent: generation * 10, out var fresh);
            using (fresh)
            {
                file.Add(next, out _);
                Assert.True(KeyFile.Look(directory, Set, "disk 'a'").IsReplacementCutOff);
                file.DestroyOlder();
                var again = KeyFile.Look(directory, Set, "disk 'a'");
                Assert.Equal((generation, generation * 10, 2, false), (again.Current!.Generation, again.Current.FirstExtent, again.ValidCopies, again.IsReplacementCutOff));
                using var opened = again.Current.TryUnwrap(diskKey);
                Assert.True(opened!.Bytes.SequenceEqual(fresh.Bytes));
            }

            // Not a run of 8 bytes of the wrapped key that was in force, or of its tag, is there any more.
            var now = File.ReadAllBytes(FilePath);
            var wrapped = old.AsSpan((int)((generation - 1) & 1) * HalfBytes, 160);
            for (var at = 80; at + 8 <= wrapped.Length; at++)
                Assert.True(now.AsSpan().IndexOf(wrapped.Slice(at, 8)) < 0, $"bytes {at} to {at + 7} of generation {generation - 1} are still there");
            old = now;
        }
    }

    [Theory]
    [InlineData(HalfBytes)]
    [InlineData(HalfBytes + CopyBytes)]
    public void OneDamagedCopy_IsSurvived_AndMended(int offset)
    {
        Create(out var key);
        key.Dispose();
        Damage(offset + 100);
        var file = KeyFile.Open(directory, Set, "disk 'a'");
        Assert.Equal((1, $"offset {offset}: F3: the checksum is wrong"), (file.ValidCopies, Assert.Single(file.Faults).ToString()));
        Assert.True(file.Mend());
        var mended = KeyFile.Look(directory, Set, "disk 'a'");
        Assert.Equal((2, 0), (mended.ValidCopies, mended.Faults.Count));
        Assert.False(mended.Mend());
    }

    [Fact]
    public void TwoDamagedCopies_AreRefused_InOneLineThatSaysWhatToDo()
    {
        Create(out var key);
        key.Dispose();
        Damage(HalfBytes + 100);
        Damage(HalfBytes + CopyBytes);
        var refused = Assert.Throws<StoreException>(() => KeyFile.Open(directory, Set, "disk 'a'"));
        Assert.Equal(StoreError.Corrupt, refused.Error);
        foreach (var wanted in new[] { FilePath, "disk 'a'", "F3", "F1", "restore" })
            Assert.Contains(wanted, refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
        Assert.False(KeyFile.Look(directory, Set, "disk 'a'").Mend());
    }

    [Fact]
    public void AFileThatIsMissingShortOrOfAnotherSet_IsRefusedByName()
    {
        var missing = Assert.Throws<StoreException>(() => KeyFile.Open(directory, Set, "disk 'a'"));
        Assert.Equal((StoreError.Corrupt, true), (missing.Error, missing.Message.Contains("is missing", StringComparison.Ordinal)));

        Create(out var key);
        key.Dispose();
        var other = Set.ToArray();
        other[0] ^= 1;
        File.Copy(FilePath, Path.Combine(folder, "keys", Convert.ToHexStringLower(other)));
        Assert.Contains("F4", Assert.Throws<StoreException>(() => KeyFile.Open(directory, other, "disk 'b'")).Message, StringComparison.Ordinal);

        using (var file = File.Open(FilePath, FileMode.Open))
            file.SetLength(HalfBytes + 100);
        Assert.Contains("cannot be read", Assert.Throws<StoreException>(() => KeyFile.Open(directory, Set, "disk 'a'")).Message, StringComparison.Ordinal);
    }

    /// <summary>A later version is no damage: nothing is written over.</summary>
    [Fact]
    public void AFileOfALaterVersion_IsLeftAlone()
    {
        Create(out var key);
        key.Dispose();
        foreach (var offset in new[] { HalfBytes, HalfBytes + CopyBytes })
            Damage(offset + 8, 3);
        var before = File.ReadAllBytes(FilePath);
        Assert.Equal(StoreError.Unsupported, Assert.Throws<StoreException>(() => KeyFile.Open(directory, Set, "disk 'a'")).Error);
        Assert.False(KeyFile.Look(directory, Set, "disk 'a'").Mend());
        Assert.Equal(before, File.ReadAllBytes(FilePath));
    }

    [Fact]
    public void ForgedFields_UnderARightChecksum_DoNotOpen()
    {
        Create(out var key);
        key.Dispose();
        var copy = File.ReadAllBytes(FilePath).AsSpan(HalfBytes, CopyBytes).ToArray();
        for (var offset = 32; offset < 160; offset++)
        {
            var forged = copy.ToArray();
            forged[offset] ^= 2;
            Format.Mend.Header(forged);
            if (StoredKey.TryRead(forged, Set, half: 1, out var read, out _))
                Assert.Null(read!.TryUnwrap(diskKey));
        }
    }

    [Fact]
    public void Destroying_OverwritesBeforeItRemoves()
    {
        Create(out var key);
        key.Dispose();
        var before = File.ReadAllBytes(FilePath);
        using var held = new FileStream(FilePath, FileMode.Open, FileAccess.Read, FileShare.ReadWrite | FileShare.Delete);
        KeyFile.Destroy(directory, Path.GetFileName(FilePath));
        Assert.False(File.Exists(FilePath));

        // What the removed file's blocks hold shows who has it open.
        var after = new byte[before.Length];
        held.ReadExactly(after);
        Assert.True(after.AsSpan().IndexOf("CSDATKEY"u8) < 0);
        for (var at = HalfBytes; at < HalfBytes + 160; at += 8)
            Assert.True(after.AsSpan().IndexOf(before.AsSpan(at, 8)) < 0 || !before.AsSpan(at, 8).ContainsAnyExcept((byte)0));
        KeyFile.Destroy(directory, Path.GetFileName(FilePath));
    }

    private StoredKey Create(out LockedKey key)
    {
        var stored = StoredKey.Wrap(diskKey, Set, generation: 1, firstExtent: 1, out key);
        KeyFile.Create(directory, stored);
        return stored;
    }

    private void Damage(int offset, byte flip = 0x10)
    {
        using var file = File.Open(FilePath, FileMode.Open);
        file.Position = offset;
        var value = (byte)file.ReadByte();
        file.Position = offset;
        file.WriteByte((byte)(value ^ flip));
    }
}
