using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Fuzz;

/// <summary>A disk's attributes.</summary>
internal sealed class DiskAttributesTarget : FuzzTarget
{
    public override string Name => "disk attributes";

    public override IEnumerable<byte[]> Seeds() =>
    [
        new DiskAttributes(Compression.None, Encryption.None, null, 0, default).ToBytes(),
        new DiskAttributes(Compression.Lz4, Encryption.XtsAes256, new BaseImageReference("/images/bäse.qcow2", BaseImageFormat.Qcow2), 1 << 20, KeySlotsTarget.Table(2)).ToBytes(),
        new DiskAttributes(Compression.None, Encryption.None, new BaseImageReference("/images/base.raw", BaseImageFormat.Raw), 1 << 20, default).ToBytes(),
    ];

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => FieldsOf(DiskAttributes.Layout, 0);

    public override string Execute(byte[] input)
    {
        if (!DiskAttributes.TryRead(input, out var read, out var fault))
            return Refused(fault);
        Require(read.ToBytes().AsSpan().SequenceEqual(input), "they are not written as they were read");
        Require(read.Base is null || (Path.IsPathRooted(read.Base.Path) && !read.Base.Path.Contains('\0', StringComparison.Ordinal)), "the path is none");
        return "accepted" + (KeySlotTable.TryRead(read.KeySlots.Span, out _, out _) ? " with keys" : "");
    }
}

/// <summary>A key slot table. Slots that are taken cost a bounded time to open.</summary>
internal sealed class KeySlotsTarget : FuzzTarget
{
    public override string Name => "key slots";

    public override int InputBytesMax => KeySlotTable.LengthMax + 512;

    public static byte[] Table(int slots, ulong generation = 0)
    {
        var all = new KeySlot[slots];
        for (var i = 0; i < slots; i++)
        {
            all[i] = new KeySlot { Number = (byte)((i * 2) + 1), Cost = new KeySlotCost(i + 1, 65536, 2) };
            new Random(i).NextBytes(all[i].Salt);
            new Random(i).NextBytes(all[i].WrappedKey);
        }

        var table = new KeySlotTable(TestStore.Id.ToByteArray(), new byte[KeySlotTable.KeyCheckBytes], all, generation);
        var bytes = new byte[table.Length];
        table.Write(bytes);
        return bytes;
    }

    public override IEnumerable<byte[]> Seeds() => [Table(1), Table(2), Table(8), Table(1, 1), Table(2, ulong.MaxValue), Table(8, 3)];

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(KeySlotTable.LayoutOf(input), 0))
            yield return field;
        for (var at = KeySlotTable.SlotsAt(input); at + KeySlot.Length <= input.Length; at += KeySlot.Length)
        {
            foreach (var field in FieldsOf(KeySlot.Layout, at))
                yield return field;
        }
    }

    public override byte[] Mend(byte[] input) => Unit.Format.Mend.KeySlots(input);

    public override string Execute(byte[] input)
    {
        if (!KeySlotTable.TryRead(input, out var table, out var fault))
            return Refused(fault);
        var again = new byte[table.Length];
        table.Write(again);
        Require(again.AsSpan().SequenceEqual(input), "it is not written as it was read");
        var last = 0;
        foreach (var slot in table.Slots)
        {
            Require(slot.Number > last, "T7 does not hold");
            Require(slot.Cost.Passes is >= 1 and <= 1000 && slot.Cost.Lanes is >= 1 and <= 64 && slot.Cost.MemoryKiB >= 8 * slot.Cost.Lanes, "L5 does not hold");
            Require((long)slot.Cost.Passes * slot.Cost.MemoryKiB <= 67_108_864 && slot.Cost.MemoryKiB <= 4_194_304, "L5 does not hold");
            last = slot.Number;
        }

        return "accepted" + table.Slots.Length;
    }
}

/// <summary>An LZ4 block: it fills its place exactly or is refused, and nothing behind the place is touched.</summary>
internal sealed class Lz4Target : FuzzTarget
{
    private const int GuardBytes = 4096;
    private const byte Guard = 0xA5;

    private readonly byte[] room = new byte[StoreFormat.PageBytes + GuardBytes];

    public override string Name => "lz4";

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (var blocks in new[] { 1, 3, 16 })
        {
            var plain = new byte[blocks * StoreFormat.BlockBytes];
            for (var i = 0; i < plain.Length; i++)
                plain[i] = (byte)(i % 61);
            var stored = new byte[plain.Length];
            yield return [(byte)(blocks - 1), .. stored[..Lz4.Compress(plain, stored)]];
        }
    }

    public override string Execute(byte[] input)
    {
        if (input.Length == 0)
            return "empty";
        var length = ((input[0] & 15) + 1) * StoreFormat.BlockBytes;
        room.AsSpan(length, GuardBytes).Fill(Guard);
        var taken = Lz4.TryDecompress(input.AsSpan(1), room.AsSpan(0, length));
        Require(!room.AsSpan(length, GuardBytes).ContainsAnyExcept(Guard), "bytes behind the block were written");
        return taken ? $"accepted{length}" : "refused";
    }
}

/// <summary>One copy of a data key as a key file has it, in either half.</summary>
internal sealed class KeyFileTarget : FuzzTarget
{
    public override string Name => "key file";

    public override int InputBytesMax => StoredKey.SizeBytes + 512;

    public override IEnumerable<byte[]> Seeds() => [Copy(1, 1), Copy(2, 1 << 24), Copy(ulong.MaxValue, ulong.MaxValue)];

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => FieldsOf(StoredKey.Layout, 0);

    public override byte[] Mend(byte[] input) => input.Length < StoredKey.SizeBytes ? input : [.. Unit.Format.Mend.Header(input[..StoredKey.SizeBytes]), .. input.AsSpan(StoredKey.SizeBytes)];

    public override string Execute(byte[] input)
    {
        var set = TestStore.Id.ToByteArray();
        var inFirst = StoredKey.TryRead(input, set, half: 0, out var even, out var fault);
        var inSecond = StoredKey.TryRead(input, set, half: 1, out var odd, out _);
        Require(!inFirst || !inSecond, "it is valid in both halves");
        if ((inFirst ? even : inSecond ? odd : null) is not { } key)
            return Refused(fault);
        var again = new byte[StoredKey.SizeBytes];
        key.Write(again);
        Require(again.AsSpan().SequenceEqual(input.AsSpan(0, StoredKey.SizeBytes)), "it is not written as it was read");
        Require(key.Generation != 0 && key.FirstExtent != 0 && key.KeyId != Guid.Empty, "F5 or F6 does not hold");
        return inFirst ? "accepted" : "accepted in the second half";
    }

    private static byte[] Copy(ulong generation, ulong firstExtent)
    {
        var key = new StoredKey { SetId = TestStore.Id.ToByteArray(), Generation = generation, KeyId = TestStore.Id, FirstExtent = firstExtent };
        new Random(1).NextBytes(key.Wrapped);
        new Random(2).NextBytes(key.Tag);
        var bytes = new byte[StoredKey.SizeBytes];
        key.Write(bytes);
        return bytes;
    }
}
