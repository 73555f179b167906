using System.Buffers.Binary;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Tests.Unit.Format;

namespace CowScsi.Tests.Fuzz;

/// <summary>One change of one file of a store, drawn at random; with it, where it is a forgery, the checksums that then must be right.</summary>
internal sealed class StoreDamage
{
    private const int RangeBytesMax = 9000;

    private StoreDamage(string description, Dictionary<string, byte[]> files)
    {
        Description = description;
        Files = files;
    }

    public string Description { get; }

    /// <summary>The store's files with the change.</summary>
    public Dictionary<string, byte[]> Files { get; }

    /// <summary>Changes a range of a file, whatever lies there.</summary>
    public static StoreDamage Draw(SampleStore sample, Random random)
    {
        var (name, bytes) = PickFile(sample, random);
        var at = random.Next(bytes.Length);
        var length = Math.Min(random.Next(4) == 0 ? random.Next(1, RangeBytesMax) : random.Next(1, 9), bytes.Length - at);
        string what;
        switch (random.Next(7))
        {
            case 0:
                what = $"cut to {at}";
                bytes = bytes[..at];
                break;
            case 1:
                what = $"{length} zeros at {at}";
                bytes.AsSpan(at, length).Clear();
                break;
            case 2:
                what = $"{length} bytes of noise at {at}";
                random.NextBytes(bytes.AsSpan(at, length));
                break;
            case 3:
                // A misdirected write: a sector lies where another belongs.
                var from = random.Next((bytes.Length + 511) / 512) * 512;
                at = at / 512 * 512;
                length = Math.Min(512 * random.Next(1, 17), bytes.Length - Math.Max(at, from));
                what = $"{length} bytes of offset {from} at {at}";
                bytes.AsSpan(from, length).ToArray().CopyTo(bytes, at);
                break;
            case 4:
                what = "the file is gone";
                bytes = [];
                break;
            default:
                var mask = (byte)(1 << random.Next(8));
                what = $"bit {mask:x2} of byte {at}";
                bytes[at] ^= mask;
                break;
        }

        var files = new Dictionary<string, byte[]>(sample.Files, StringComparer.Ordinal) { [name] = bytes };
        if (what == "the file is gone")
            files.Remove(name);
        return new StoreDamage($"{name}: {what}", files);
    }

    /// <summary>Changes a field, or anything, of a structure that has a checksum, and makes the checksum right.</summary>
    public static StoreDamage Forge(SampleStore sample, Random random)
    {
        var files = new Dictionary<string, byte[]>(sample.Files, StringComparer.Ordinal);
        return random.Next(5) switch
        {
            0 => ForgeHeader(files, "superblock", random.Next(2) * Superblock.SizeBytes, Superblock.Layout, random),
            1 => ForgeCheckpoint(files, random),
            2 => ForgeHeader(files, PickSegment(files, random), 0, SegmentHeader.Layout, random),
            3 => ForgeHeader(
                files, files.Keys.Where(static name => name.StartsWith("keys", StringComparison.Ordinal)).Order(StringComparer.Ordinal).First(), (2 + random.Next(2)) * StoredKey.SizeBytes,
                StoredKey.Layout, random),
            _ => ForgeBatch(files, Crc32C.Compute(sample.Id.ToByteArray(bigEndian: true)), random),
        };
    }

    /// <summary>Files of the log and of the superblock more often than the index, which is large and derived.</summary>
    private static (string Name, byte[] Bytes) PickFile(SampleStore sample, Random random)
    {
        var names = sample.Files.Keys.Where(name => sample.Files[name].Length > 0).Order(StringComparer.Ordinal).ToList();
        var name = names[random.Next(names.Count)];
        if (random.Next(2) == 0)
            name = names.Where(static name => name.StartsWith("segments", StringComparison.Ordinal)).ElementAt(random.Next(names.Count(static name => name.StartsWith("segments", StringComparison.Ordinal))));
        return (name, sample.Files[name].ToArray());
    }

    private static string PickSegment(Dictionary<string, byte[]> files, Random random)
    {
        var names = files.Keys.Where(name => name.StartsWith("segments", StringComparison.Ordinal) && files[name].Length > 8192 && BatchHeader.HasMagic(files[name].AsSpan(SegmentHeader.SizeBytes))).Order(StringComparer.Ordinal).ToList();
        return names[random.Next(names.Count)];
    }

    private static StoreDamage ForgeHeader(Dictionary<string, byte[]> files, string name, int at, StoredLayout layout, Random random)
    {
        var bytes = files[name].ToArray();
        var what = ChangeField(bytes, at, layout, random);
        Mend.Header(bytes[at..(at + layout.SizeBytes)]).CopyTo(bytes, at);
        files[name] = bytes;
        return new StoreDamage($"{name}, mended: {what}", files);
    }

    /// <summary>The superblock's slots then name the changed file.</summary>
    private static StoreDamage ForgeCheckpoint(Dictionary<string, byte[]> files, Random random)
    {
        var name = files.Keys.First(static name => name.StartsWith("checkpoint-", StringComparison.Ordinal));
        var bytes = files[name].ToArray();
        var what = random.Next(2) == 0 ? ChangeField(bytes, 0, CheckpointFile.Layout, random) : ChangeWord(bytes, random.Next(bytes.Length - 8), random.Next(1, 9), random);
        var superblock = files["superblock"].ToArray();
        for (var slot = 0; slot < superblock.Length; slot += Superblock.SizeBytes)
        {
            if (BinaryPrimitives.ReadUInt64LittleEndian(superblock.AsSpan(slot + 72)) == 0)
                continue;
            BinaryPrimitives.WriteUInt64LittleEndian(superblock.AsSpan(slot + 80), (ulong)bytes.Length);
            BinaryPrimitives.WriteUInt32LittleEndian(superblock.AsSpan(slot + 88), Crc32C.Compute(bytes));
            Mend.Header(superblock[slot..(slot + Superblock.SizeBytes)]).CopyTo(superblock, slot);
        }

        (files[name], files["superblock"]) = (bytes, superblock);
        return new StoreDamage($"{name}, mended: {what}", files);
    }

    /// <summary>A batch's header, one of its descriptors, or one of its payloads, whose checksum then is made right.</summary>
    private static StoreDamage ForgeBatch(Dictionary<string, byte[]> files, uint tag, Random random)
    {
        var name = PickSegment(files, random);
        var bytes = files[name].ToArray();
        var batches = new List<int>();
        for (var at = SegmentHeader.SizeBytes; at + BatchHeader.BlockBytes <= bytes.Length && BatchHeader.HasMagic(bytes.AsSpan(at)); at += BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(at + 12)))
            batches.Add(at);
        var batch = batches[random.Next(batches.Count)];
        var descriptors = new List<int>();
        var end = batch + BatchHeader.SizeBytes + BinaryPrimitives.ReadUInt16LittleEndian(bytes.AsSpan(batch + 50));
        for (var at = batch + BatchHeader.SizeBytes; at < end; at += bytes[at + 1] * 8)
            descriptors.Add(at);
        var what = "";
        var descriptor = descriptors.Count == 0 ? 0 : descriptors[random.Next(descriptors.Count)];
        switch (descriptor == 0 ? 0 : random.Next(3))
        {
            case 0:
                what = ChangeField(bytes, batch, BatchHeader.Layout, random);
                break;
            case 1:
                what = ChangeField(bytes, descriptor, DescriptorFields.Layout, random);
                break;
            default:
                var payloadAt = batch + BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(descriptor + 24));
                var length = BinaryPrimitives.ReadInt32LittleEndian(bytes.AsSpan(descriptor + 12));
                if (length < 9)
                    break;
                what = "payload, " + ChangeWord(bytes, payloadAt + random.Next(Math.Min(length, 300) - 8), random.Next(1, 9), random);
                var isCatalog = bytes[descriptor] >= 3;
                for (var i = 0; isCatalog ? i < 1 : i < length / 4096; i++)
                    BinaryPrimitives.WriteUInt32LittleEndian(bytes.AsSpan(descriptor + 28 + (i * 4)), Crc32C.Compute(isCatalog ? bytes.AsSpan(payloadAt, length) : bytes.AsSpan(payloadAt + (i * 4096), 4096)));
                break;
        }

        Mend.Batch(bytes[batch..(batch + BatchHeader.BlockBytes)], tag).CopyTo(bytes, batch);
        files[name] = bytes;
        return new StoreDamage($"{name}, batch at {batch}, mended: {what}", files);
    }

    private static string ChangeField(byte[] bytes, int at, StoredLayout layout, Random random)
    {
        var fields = layout.Fields.Where(static field => field.Length is null && field.Name is not ("magic" or "crc" or "zero")).ToList();
        var field = fields[random.Next(fields.Count)];
        return $"{field.Name}, {ChangeWord(bytes, at + field.OffsetBytes, Math.Min(field.SizeBytes, sizeof(ulong)), random)}";
    }

    private static string ChangeWord(byte[] bytes, int at, int size, Random random)
    {
        Span<byte> word = stackalloc byte[sizeof(ulong)];
        word.Clear();
        bytes.AsSpan(at, size).CopyTo(word);
        var old = BinaryPrimitives.ReadUInt64LittleEndian(word);
        var next = random.Next(5) switch
        {
            0 => 0UL,
            1 => ulong.MaxValue,
            2 => old + (ulong)random.Next(-3, 4),
            3 => old ^ (1UL << random.Next(size * 8)),
            _ => (ulong)random.NextInt64() >> random.Next(63),
        };
        BinaryPrimitives.WriteUInt64LittleEndian(word, next);
        word[..size].CopyTo(bytes.AsSpan(at));
        return $"{size} bytes at {at}: {old} becomes {next}";
    }
}
