using System.Buffers.Binary;
using System.Text;
using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

public sealed class KeySlotTests
{
    /// <summary>One pass over 64 KiB: slots as cheap as Argon2id can usefully be, for tests alone.</summary>
    private static readonly KeySlotCost Cheap = new(1, 64, 1);

    /// <summary>Where the slots of a table begin.</summary>
    private const int Slots = 56;

    private static ReadOnlySpan<byte> Passphrase => "correct horse"u8;

    [Fact]
    public void Argon2id_GivesTheKnownAnswerOfTheReferenceImplementation()
    {
        // github.com/P-H-C/phc-winner-argon2, src/test.c: argon2id, v=0x13, t=2, m=2^16 KiB, p=1.
        var output = new byte[32];
        Argon2.DeriveId("password"u8, "somesalt"u8, new KeySlotCost(2, 65536, 1), output);
        Assert.Equal("09316115D5CF24ED5A15A31A3BA326E5CF32EDC24702987C02B6566F61913CF7", Convert.ToHexString(output));
    }

    [Fact]
    public void AfterStoringAndReading_TheSameKeyOpens()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        using (key)
        {
            var read = KeySlotSet.Read(Stored(set), "disk 'a'");
            Assert.Equal(set.Id, read.Id);
            Assert.Equal([new KeySlotInfo(1, Cheap)], read.Slots);
            using var opened = read.Unlock(Passphrase);
            Assert.True(opened.Bytes.SequenceEqual(key.Bytes));
            Assert.True(read.Owns(opened));
            Assert.Equal(1, read.FindSlot(Passphrase));
        }
    }

    [Fact]
    public void EveryCreation_HasItsOwnKeyIdSaltAndNonce()
    {
        var first = KeySlotSet.Create(Passphrase, out var firstKey, Cheap);
        var second = KeySlotSet.Create(Passphrase, out var secondKey, Cheap);
        using (firstKey)
        using (secondKey)
        {
            Assert.NotEqual(first.Id, second.Id);
            Assert.False(firstKey.Bytes.SequenceEqual(secondKey.Bytes));
            var a = Stored(first).AsSpan(Slots);
            var b = Stored(second).AsSpan(Slots);
            Assert.False(a.Slice(16, 32).SequenceEqual(b.Slice(16, 32)));
            Assert.False(a.Slice(48, 12).SequenceEqual(b.Slice(48, 12)));
        }
    }

    [Fact]
    public void WrongPassphrase_IsAKeyErrorInOneLine()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        key.Dispose();
        Assert.False(set.TryUnlock("wrong"u8, out var none));
        Assert.Null(none);
        Assert.Equal(0, set.FindSlot("wrong"u8));
        var refused = Assert.Throws<StoreException>(() => set.Unlock("wrong"u8));
        Assert.Equal(StoreError.Key, refused.Error);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Fact]
    public void EmptyOrOversizedPassphrases_AreRefusedEverywhere()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        using (key)
        {
            foreach (var bad in new[] { [], new byte[KeySlotSet.PassphraseBytesMax + 1] })
            {
                Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => KeySlotSet.Create(bad, out _, Cheap)).Error);
                Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => set.Unlock(bad)).Error);
                Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => set.TryUnlock(bad, out _)).Error);
                Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => set.AddSlot(key, bad, Cheap, out _)).Error);
            }
        }
    }

    [Fact]
    public void EightSlots_EachOpensTheSameKey_AndTheNinthIsRefused()
    {
        var set = KeySlotSet.Create("passphrase 1"u8, out var key, Cheap);
        using (key)
        {
            for (var i = 2; i <= KeySlotSet.SlotsMax; i++)
            {
                set = set.AddSlot(key, Encoding.UTF8.GetBytes($"passphrase {i}"), Cheap, out var number);
                Assert.Equal(i, number);
            }

            Assert.Equal(KeySlotSet.LengthMax, set.Length);
            var read = KeySlotSet.Read(Stored(set), "disk 'a'");
            for (var i = 1; i <= KeySlotSet.SlotsMax; i++)
            {
                using var opened = read.Unlock(Encoding.UTF8.GetBytes($"passphrase {i}"));
                Assert.True(opened.Bytes.SequenceEqual(key.Bytes));
                Assert.Equal(i, read.FindSlot(Encoding.UTF8.GetBytes($"passphrase {i}")));
            }

            Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => set.AddSlot(key, "one more"u8, Cheap, out _)).Error);
        }
    }

    [Fact]
    public void ARemovedSlot_OpensNothing_ItsNumberIsFree_AndTheLastOneStays()
    {
        var set = KeySlotSet.Create("one"u8, out var key, Cheap);
        using (key)
        {
            set = set.AddSlot(key, "two"u8, Cheap, out _).AddSlot(key, "three"u8, Cheap, out _);
            var without = set.RemoveSlot(2);
            Assert.Equal([1, 3], without.Slots.Select(slot => slot.Number));
            Assert.False(without.TryUnlock("two"u8, out _));
            Assert.Equal(3, without.FindSlot("three"u8));
            Assert.Equal(2, set.FindSlot("two"u8));

            var again = without.AddSlot(key, "four"u8, Cheap, out var number);
            Assert.Equal(2, number);
            Assert.Equal([1, 2, 3], KeySlotSet.Read(Stored(again), "disk 'a'").Slots.Select(slot => slot.Number));

            Assert.Equal(StoreError.NotFound, Assert.Throws<StoreException>(() => set.RemoveSlot(9)).Error);
            Assert.Equal(StoreError.Invalid, Assert.Throws<StoreException>(() => set.RemoveSlot(1).RemoveSlot(2).RemoveSlot(3)).Error);
        }
    }

    [Fact]
    public void AnotherDisksKey_CannotBeAdded()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        KeySlotSet.Create(Passphrase, out var other, Cheap);
        using (key)
        using (other)
        {
            Assert.False(set.Owns(other));
            Assert.Equal(StoreError.Key, Assert.Throws<StoreException>(() => set.AddSlot(other, "two"u8, Cheap, out _)).Error);
        }
    }

    [Theory]
    [InlineData(0, 64, 1)]
    [InlineData(1001, 64, 1)]
    [InlineData(1, 7, 1)]
    [InlineData(1, 63, 8)]
    [InlineData(1, (4 << 20) + 1, 1)]
    [InlineData(17, 4 << 20, 1)]
    [InlineData(1, 64, 0)]
    [InlineData(1, 1024, 65)]
    [InlineData(-1, -1, -1)]
    public void CostsOutOfRange_AreRefusedWhenMadeAndWhenRead(int passes, int memoryKiB, int lanes)
    {
        Assert.Equal(
            StoreError.Invalid,
            Assert.Throws<StoreException>(() => KeySlotSet.Create(Passphrase, out _, new KeySlotCost(passes, memoryKiB, lanes))).Error);

        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        key.Dispose();
        var stored = Stored(set);
        BinaryPrimitives.WriteInt32LittleEndian(stored.AsSpan(Slots + 4), passes);
        BinaryPrimitives.WriteInt32LittleEndian(stored.AsSpan(Slots + 8), memoryKiB);
        BinaryPrimitives.WriteInt32LittleEndian(stored.AsSpan(Slots + 12), lanes);
        Seal(stored);
        Assert.False(KeySlotSet.TryRead(stored, out _, out var violation));
        Assert.Contains("L5", violation, StringComparison.Ordinal);
    }

    [Fact]
    public void EveryChangeOfOneByte_IsRefusedWhenRead()
    {
        var stored = Stored(TwoSlots());
        for (var offset = 0; offset < stored.Length; offset++)
        {
            for (var flip = 1; flip < 256; flip++)
            {
                stored[offset] ^= (byte)flip;
                Assert.False(KeySlotSet.TryRead(stored, out _, out var violation), $"offset {offset}, flip {flip:X2}");
                Assert.Matches("^[TL][0-9]: ", violation);
                stored[offset] ^= (byte)flip;
            }
        }

        Assert.True(KeySlotSet.TryRead(stored, out _, out _));
    }

    [Fact]
    public void EveryLengthButTheRightOne_IsRefusedWhenRead()
    {
        var stored = new byte[KeySlotSet.LengthMax + 200];
        var set = TwoSlots();
        set.Write(stored);
        for (var length = 0; length < stored.Length; length++)
            Assert.Equal(length == set.Length, KeySlotSet.TryRead(stored.AsSpan(0, length), out _, out _));
    }

    [Fact]
    public void AForgedSlotUnderARightChecksum_DoesNotOpen()
    {
        // Whoever can write the file can make the checksum right; the tag over header, set id and key still holds.
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        key.Dispose();
        var original = Stored(set);
        for (var offset = 16; offset < original.Length; offset++)
        {
            var forged = original.ToArray();
            forged[offset] ^= 1;
            Seal(forged);
            if (!KeySlotSet.TryRead(forged, out var read, out _))
                continue;
            if (offset is >= 48 and < Slots)
                continue; // The generation: a lower one is told by the key file, a higher one refuses it.
            if (offset is >= 32 and < 48)
            {
                Assert.Equal(StoreError.Corrupt, Assert.Throws<StoreException>(() => read.TryUnlock(Passphrase, out _)).Error);
                continue;
            }

            Assert.False(read.TryUnlock(Passphrase, out _), $"offset {offset}");
        }
    }

    [Fact]
    public void ASlotMovedToAnotherSet_DoesNotOpen()
    {
        var first = Stored(KeySlotSet.Create(Passphrase, out var firstKey, Cheap));
        var second = Stored(KeySlotSet.Create("another"u8, out var secondKey, Cheap));
        firstKey.Dispose();
        secondKey.Dispose();
        first.AsSpan(Slots).CopyTo(second.AsSpan(Slots));
        Seal(second);
        Assert.False(KeySlotSet.Read(second, "disk 'b'").TryUnlock(Passphrase, out _));
    }

    [Theory]
    [InlineData(8, 3, "T2")]
    [InlineData(10, 0, "T3")]
    [InlineData(10, 9, "T3")]
    [InlineData(Slots, 0, "L1")]
    [InlineData(Slots + 1, 2, "L2")]
    [InlineData(Slots + 2, 2, "L3")]
    [InlineData(Slots + 3, 1, "L4")]
    [InlineData(Slots + 60, 1, "L4")]
    [InlineData(48, 0, "T8")]
    [InlineData(Slots, 2, "T7")]
    [InlineData(Slots, 3, "T7")]
    public void ABrokenPredicateUnderARightChecksum_IsNamed(int offset, byte value, string named)
    {
        var stored = Stored(TwoSlots());
        stored[offset] = value;
        Seal(stored);
        Assert.False(KeySlotSet.TryRead(stored, out _, out var violation));
        Assert.Contains(named, violation, StringComparison.Ordinal);
        var refused = Assert.Throws<StoreException>(() => KeySlotSet.Read(stored, "disk 'pg'"));
        Assert.Equal(StoreError.Corrupt, refused.Error);
        Assert.Contains("disk 'pg'", refused.Message, StringComparison.Ordinal);
        Assert.DoesNotContain('\n', refused.Message);
    }

    [Fact]
    public void TheStoredForm_HasTheDocumentedLayout()
    {
        var set = TwoSlots();
        var stored = Stored(set);
        Assert.Equal(56 + 2 * 144, stored.Length);
        Assert.Equal("CSKEYSET", Encoding.ASCII.GetString(stored, 0, 8));
        Assert.Equal("02000200", Convert.ToHexString(stored, 8, 4));
        Assert.Equal("0100000000000000", Convert.ToHexString(stored, 48, 8));
        Assert.Equal(set.Id, new Guid(stored.AsSpan(16, 16)));
        // slot 1: number, kdf, wrap, reserved, t = 1, m = 64, p = 1
        Assert.Equal("01010100" + "01000000" + "40000000" + "01000000", Convert.ToHexString(stored, Slots, 16));
        Assert.Equal("02010100" + "01000000" + "40000000" + "01000000", Convert.ToHexString(stored, Slots + 144, 16));
        Assert.Equal("00000000", Convert.ToHexString(stored, Slots + 60, 4));
        var crc = BinaryPrimitives.ReadUInt32LittleEndian(stored.AsSpan(12));
        Seal(stored);
        Assert.Equal(crc, BinaryPrimitives.ReadUInt32LittleEndian(stored.AsSpan(12)));
    }

    /// <summary>Tables of older stores: read, and changed, as what they are.</summary>
    [Fact]
    public void ATableOfVersion1_StaysOne()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap, generation: 0);
        using (key)
        {
            Assert.False(set.WrapsDiskKey);
            var read = KeySlotSet.Read(Stored(set.AddSlot(key, "two"u8, Cheap, out _)), "disk 'a'");
            var stored = Stored(read);
            Assert.Equal(48 + 2 * 144, stored.Length);
            Assert.Equal("01000200", Convert.ToHexString(stored, 8, 4));
            Assert.Equal("01010100" + "01000000" + "40000000" + "01000000", Convert.ToHexString(stored, 48, 16));
            using var opened = read.RemoveSlot(1).Unlock("two"u8);
            Assert.True(opened.Bytes.SequenceEqual(key.Bytes));
            Assert.False(read.RemoveSlot(1).WrapsDiskKey);
        }
    }

    /// <summary>The data key of one version is not taken for the disk key of the other.</summary>
    [Fact]
    public void SlotsOfOneVersion_DoNotOpenAsTheOther()
    {
        var old = Stored(KeySlotSet.Create(Passphrase, out var key, Cheap, generation: 0));
        key.Dispose();
        byte[] forged = [.. old.AsSpan(0, 48), 1, 0, 0, 0, 0, 0, 0, 0, .. old.AsSpan(48)];
        forged[8] = 2;
        Seal(forged);
        Assert.Equal(StoreError.Corrupt, Assert.Throws<StoreException>(() => KeySlotSet.Read(forged, "disk 'a'").TryUnlock(Passphrase, out _)).Error);
    }

    [Fact]
    public void ALaterGeneration_KeepsTheSlots()
    {
        var set = KeySlotSet.Create(Passphrase, out var key, Cheap);
        using (key)
        {
            var later = KeySlotSet.Read(Stored(set.WithGeneration(7)), "disk 'a'");
            Assert.Equal((7UL, set.Id), (later.Generation, later.Id));
            using var opened = later.Unlock(Passphrase);
            Assert.True(opened.Bytes.SequenceEqual(key.Bytes));
            Assert.Equal(7UL, later.AddSlot(key, "two"u8, Cheap, out _).RemoveSlot(1).Generation);
        }
    }

    [Fact]
    public void ADisposedKey_IsGone()
    {
        var key = LockedKey.Generate();
        Assert.Equal(LockedKey.Length, key.Bytes.Length);
        using var cipher = new XtsCipher(key.Bytes);
        key.Dispose();
        key.Dispose();
        Assert.Throws<ObjectDisposedException>(() => key.Bytes.Length);
    }

    private static KeySlotSet TwoSlots()
    {
        var set = KeySlotSet.Create("one"u8, out var key, Cheap);
        using (key)
            return set.AddSlot(key, "two"u8, Cheap, out _);
    }

    private static byte[] Stored(KeySlotSet set)
    {
        var stored = new byte[set.Length];
        set.Write(stored);
        return stored;
    }

    /// <summary>Makes the checksum right, bit by bit as the polynomial says (Castagnoli, reflected).</summary>
    private static void Seal(byte[] stored)
    {
        stored.AsSpan(12, 4).Clear();
        var crc = uint.MaxValue;
        foreach (var value in stored)
        {
            crc ^= value;
            for (var bit = 0; bit < 8; bit++)
                crc = (crc >> 1) ^ (0x82F63B78 & (0 - (crc & 1)));
        }

        BinaryPrimitives.WriteUInt32LittleEndian(stored.AsSpan(12), ~crc);
    }
}
