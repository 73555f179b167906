using CowScsi.Engine;
using CowScsi.Layers;
using FsCheck;
using FsCheck.Fluent;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>What is written can be read, and no structure with one byte changed is taken for a valid one.</summary>
public sealed class FormatProperties(ITestOutputHelper output)
{
    private const int Cases = 20;
    private const uint StoreTag = 0xC0FFEE;

    private static readonly Gen<ulong> Number = Gen.Choose(0, int.MaxValue).Two().Select(static pair => ((ulong)pair.Item1 << 32) | (uint)pair.Item2);

    [Fact]
    public void Superblock_ReadsBack_AndRefusesEveryFlip() => Check("format:superblock", Number, static seed =>
    {
        var random = new Random((int)seed);
        var written = new Superblock
        {
            Sequence = seed | 1,
            StoreId = Identity(random),
            Incompatible = (ulong)random.NextInt64(),
            Compatible = (ulong)random.NextInt64(),
            Autoclear = (ulong)random.NextInt64(),
            State = random.Next(2) == 0 ? StoreState.Clean : StoreState.Open,
            CheckpointNumber = (ulong)random.NextInt64(),
            CheckpointBytes = (ulong)random.NextInt64(),
            CheckpointChecksum = (uint)random.Next(),
            SegmentBytes = (uint)(StoreFormat.SegmentBytesMin + (random.Next(1000) * StoreFormat.SectorBytes)),
            TweakSalt = (ulong)random.NextInt64() & ~0xFFUL,
            CreatedTicks = random.NextInt64(StoreFormat.TicksMax),
        };
        var bytes = new byte[Superblock.SizeBytes];
        written.Write(bytes);
        Assert.True(Superblock.TryRead(bytes, out var read, out var fault), fault);
        Assert.Equal(written, read);
        ForEachFlip(bytes, random, flipped => Superblock.TryRead(flipped, out _, out _));
    });

    [Fact]
    public void SegmentHeader_ReadsBack_AndRefusesEveryFlip() => Check("format:segment", Number, static seed =>
    {
        var random = new Random((int)seed);
        var written = new SegmentHeader(Identity(random), (uint)random.Next(1, int.MaxValue), (uint)(StoreFormat.SegmentBytesMin + (random.Next(1000) * StoreFormat.SectorBytes)));
        var bytes = new byte[SegmentHeader.SizeBytes];
        written.Write(bytes);
        Assert.True(SegmentHeader.TryRead(bytes, written.StoreId, written.Number, out var read, out var fault), fault);
        Assert.Equal(written, read);
        Assert.False(SegmentHeader.TryRead(bytes, Identity(random), written.Number, out _, out _));
        Assert.False(SegmentHeader.TryRead(bytes, written.StoreId, written.Number + 1, out _, out _));
        ForEachFlip(bytes, random, flipped => SegmentHeader.TryRead(flipped, written.StoreId, written.Number, out _, out _));
    });

    [Fact]
    public void BatchHeaderBlock_ReadsBackWithItsDescriptors_AndRefusesEveryFlip() => Check("format:batch", Number, static seed =>
    {
        var random = new Random((int)seed);
        const int SegmentBytes = 64 << 20;
        var bytes = new byte[BatchHeader.BlockBytes];
        var place = new LogPosition((uint)random.Next(1, 9999), (uint)random.Next(1, 1000) * StoreFormat.SectorBytes);
        var descriptors = WriteDescriptors(bytes.AsSpan(BatchHeader.SizeBytes), random, out var used);
        var written = new BatchHeader
        {
            LengthBytes = BatchHeader.BatchBytesMax,
            Sequence = seed,
            DurableSequence = seed / 2,
            Position = place,
            PreviousEnd = new LogPosition((uint)random.Next(), (uint)random.Next()),
            DescriptorCount = (ushort)descriptors.Count,
            DescriptorBytes = (ushort)used,
        };
        written.Write(bytes, StoreTag);
        Assert.True(BatchHeader.TryRead(bytes, StoreTag, place, SegmentBytes, out var read, out var fault), fault);
        Assert.Equal(written, read);
        Assert.Equal(descriptors, ReadDescriptors(LogReader.DescriptorsOf(bytes)));
        Assert.False(BatchHeader.TryRead(bytes, StoreTag + 1, place, SegmentBytes, out _, out _));
        Assert.False(BatchHeader.TryRead(bytes, StoreTag, place with { OffsetBytes = place.OffsetBytes + StoreFormat.SectorBytes }, SegmentBytes, out _, out _));
        ForEachFlip(bytes, random, flipped => BatchHeader.TryRead(flipped, StoreTag, place, SegmentBytes, out _, out _));
    });

    /// <summary>A descriptor has no checksum of its own. With a byte changed it is refused, or still keeps inside page and batch.</summary>
    [Fact]
    public void FlippedDescriptor_IsRefusedOrStaysInside() => Check("format:descriptor", Number, static seed =>
    {
        var random = new Random((int)seed);
        var bytes = new byte[BatchHeader.DescriptorBytesMax];
        WriteDescriptors(bytes, random, out var used);
        for (var at = 0; at < used; at++)
        {
            var old = bytes[at];
            bytes[at] ^= (byte)(1 << random.Next(8));
            var rest = (ReadOnlySpan<byte>)bytes.AsSpan(0, used);
            while (rest.Length > 0 && Descriptor.TryRead(rest, BatchHeader.BatchBytesMax, out var descriptor, out _))
            {
                Assert.InRange(descriptor.SizeBytes, 1, rest.Length);
                Assert.InRange(descriptor.PayloadBytes, 0, BatchHeader.BatchBytesMax);
                Assert.True(descriptor.Type == DescriptorType.Zero || descriptor.PayloadOffset >= BatchHeader.BlockBytes);
                Assert.True((long)descriptor.PayloadOffset + descriptor.PayloadBytes <= BatchHeader.BatchBytesMax);
                Assert.True(descriptor.FirstBlock + descriptor.BlockCount <= StoreFormat.PageBlocks);
                for (var i = 0; i < descriptor.ChecksumCount; i++)
                    _ = descriptor.Checksum(i);
                rest = rest[descriptor.SizeBytes..];
            }

            bytes[at] = old;
        }
    });

    [Fact]
    public void CatalogImage_ReadsBack_AndAFlipNeverThrows() => Check("format:catalog", Number, static seed =>
    {
        var random = new Random((int)seed);
        var catalog = MakeCatalog(random);
        var image = catalog.ToImage([1, 2, 77]);
        var copy = new Catalog();
        foreach (var part in image)
            Assert.True(CatalogChange.TryApply(part, copy, out var fault), fault);
        Assert.Equal(catalog.Layers.Order(ById), copy.Layers.Order(ById));
        Assert.Equal(Describe(catalog), Describe(copy));
        Assert.Equal([1U, 2U, 77U], copy.KeptSegments.Order());
        var bytes = image[0];
        for (var at = 0; at < bytes.Length; at++)
        {
            var old = bytes[at];
            bytes[at] ^= (byte)(1 << random.Next(8));
            var target = new Catalog();
            if (!CatalogChange.TryApply(bytes, target, out var fault))
            {
                Assert.NotEmpty(fault);
                Assert.Empty(target.Disks); // Nothing of a record that is not valid is applied.
            }

            bytes[at] = old;
        }

        for (var length = 0; length < bytes.Length; length++)
            Assert.False(CatalogChange.TryApply(bytes.AsSpan(0, length), new Catalog(), out _));
    });

    [Fact]
    public void CheckpointFile_ReadsBack_AndAFlipOrACutNeverThrows() => Check("format:checkpoint", Number, static seed =>
    {
        var random = new Random((int)seed);
        var written = MakeCheckpoint(random);
        var bytes = written.ToBytes();
        Assert.True(CheckpointFile.TryRead(bytes, written.StoreId, out var read, out var fault), fault);
        Assert.Equal(bytes, read!.ToBytes());
        Assert.Equal(written.Start with { ContinueInSegment = read.Start.ContinueInSegment }, read.Start);
        Assert.Equal(written.Segments, read.Segments);
        Assert.False(CheckpointFile.TryRead(bytes, Identity(random), out _, out _));

        // The superblock holds the file's checksum; what passes it by chance must still not bring the reader down.
        var checksum = Crc32C.Compute(bytes);
        for (var at = 0; at < bytes.Length; at++)
        {
            var old = bytes[at];
            bytes[at] ^= (byte)(1 << random.Next(8));
            Assert.NotEqual(checksum, Crc32C.Compute(bytes));
            CheckpointFile.TryRead(bytes, written.StoreId, out _, out _);
            bytes[at] = old;
        }

        for (var length = 0; length < bytes.Length; length += 7)
            Assert.False(CheckpointFile.TryRead(bytes[..length], written.StoreId, out _, out _));
    });

    [Fact]
    public void DiskAttributes_ReadBack_AndAFlipNeverThrows() => Check("format:attributes", Number, static seed =>
    {
        var random = new Random((int)seed);
        var slots = new byte[random.Next(1, 300)];
        random.NextBytes(slots);
        var encrypted = random.Next(2) == 0;
        var written = new DiskAttributes(
            random.Next(2) == 0 ? Compression.None : Compression.Lz4,
            encrypted ? Encryption.XtsAes256 : Encryption.None,
            random.Next(2) == 0 ? null : new BaseImageReference("/images/bäse-" + seed, random.Next(2) == 0 ? BaseImageFormat.Raw : BaseImageFormat.Qcow2),
            random.NextInt64(),
            encrypted ? slots : default);
        var bytes = written.ToBytes();
        Assert.True(DiskAttributes.TryRead(bytes, out var read, out var fault), fault);
        Assert.Equal(bytes, read!.ToBytes());
        Assert.Equal((written.Compression, written.Encryption, written.Base), (read.Compression, read.Encryption, read.Base));
        for (var at = 0; at < bytes.Length; at++)
        {
            var old = bytes[at];
            bytes[at] ^= (byte)(1 << random.Next(8));
            if (!DiskAttributes.TryRead(bytes, out _, out fault))
                Assert.NotEmpty(fault);
            bytes[at] = old;
        }

        for (var length = 0; length < bytes.Length; length++)
            Assert.False(DiskAttributes.TryRead(bytes.AsSpan(0, length), out _, out _));
    });

    private static readonly Comparer<LayerRow> ById = Comparer<LayerRow>.Create(static (a, b) => a.Id.Value.CompareTo(b.Id.Value));

    private void Check(string name, Gen<ulong> inputs, Action<ulong> law) => PropertyRun.Check(name, Arb.From(inputs), law, Cases, output);

    /// <summary>Each byte in turn, one bit of it.</summary>
    private static void ForEachFlip(byte[] bytes, Random random, Func<byte[], bool> isTaken)
    {
        for (var at = 0; at < bytes.Length; at++)
        {
            var bit = (byte)(1 << random.Next(8));
            bytes[at] ^= bit;
            Assert.False(isTaken(bytes), $"byte {at} with bits {bit:x2} changed is taken");
            bytes[at] ^= bit;
        }
    }

    internal static Guid Identity(Random random)
    {
        Span<byte> bytes = stackalloc byte[16];
        random.NextBytes(bytes);
        return new Guid(bytes);
    }

    internal static List<string> WriteDescriptors(Span<byte> target, Random random, out int used)
    {
        used = 0;
        for (var count = random.Next(1, 30); count > 0; count--)
        {
            var first = random.Next(16);
            var blocks = random.Next(1, 17 - first);
            var compressed = random.Next(2) == 0;
            var layer = new LayerId((uint)random.Next(1, int.MaxValue));
            var page = new PageNumber((uint)random.Next(1 << 30));
            var id = (ulong)random.NextInt64(1, long.MaxValue);
            switch (random.Next(3))
            {
                case 0:
                    Descriptor.WriteZero(target.Slice(used, Descriptor.ZeroSizeBytes), layer, page, first, blocks, id);
                    used += Descriptor.ZeroSizeBytes;
                    break;
                case 1:
                    var catalog = target.Slice(used, Descriptor.CatalogSizeBytes);
                    Descriptor.WriteCatalog(catalog, DescriptorType.Catalog, 4096 + random.Next(1000), random.Next(5000));
                    Descriptor.WriteChecksum(catalog, 0, (uint)random.Next());
                    used += catalog.Length;
                    break;
                default:
                    var extent = target.Slice(used, Descriptor.ExtentSizeBytes(blocks, compressed));
                    var encoding = compressed ? ExtentEncoding.Lz4 | ExtentEncoding.Xts : ExtentEncoding.Raw;
                    Descriptor.WriteExtent(extent, layer, page, first, blocks, encoding, id, 4096 + random.Next(100_000), compressed ? random.Next(16, 65536) : blocks * 4096);
                    for (var i = 0; i < (compressed ? 1 : blocks); i++)
                        Descriptor.WriteChecksum(extent, i, (uint)random.Next());
                    used += extent.Length;
                    break;
            }
        }

        return ReadDescriptors(target[..used]);
    }

    private static List<string> ReadDescriptors(ReadOnlySpan<byte> rest)
    {
        var found = new List<string>();
        while (rest.Length > 0)
        {
            Assert.True(Descriptor.TryRead(rest, BatchHeader.BatchBytesMax, out var one, out var fault), fault);
            var checksums = "";
            for (var i = 0; i < one.ChecksumCount; i++)
                checksums += $" {one.Checksum(i):x8}";
            found.Add($"{one.Type} {one.Layer} {one.Page} {one.FirstBlock}+{one.BlockCount} {one.Encoding} {one.ExtentId} {one.PayloadOffset}+{one.PayloadBytes}{checksums}");
            rest = rest[one.SizeBytes..];
        }

        return found;
    }

    internal static Catalog MakeCatalog(Random random)
    {
        var catalog = new Catalog();
        for (uint i = 1; i <= 5; i++)
        {
            catalog.Put(new LayerRow(new LayerId(i), new LayerId((uint)random.Next((int)i))));
            var attributes = new byte[random.Next(40)];
            random.NextBytes(attributes);
            catalog.Put(new DiskRow
            {
                Id = new DiskId(i),
                Name = $"disk-{random.Next()}",
                SizeBytes = random.NextInt64(1, StoreFormat.DiskBytesMax / StoreFormat.BlockBytes) * StoreFormat.BlockBytes,
                LogicalBlockBytes = 512,
                Head = new LayerId(i),
                Origin = new SnapshotId((uint)random.Next(9)),
                Uuid = Identity(random),
                CreatedTicks = random.NextInt64(StoreFormat.TicksMax),
                Attributes = attributes,
            });
            catalog.Put(new SnapshotRow
            {
                Id = new SnapshotId(i),
                Disk = new DiskId(i),
                Name = $"snap-{i}",
                Layer = new LayerId(i),
                SizeBytes = random.NextInt64(1, StoreFormat.DiskBytesMax / StoreFormat.BlockBytes) * StoreFormat.BlockBytes,
                CreatedTicks = random.NextInt64(StoreFormat.TicksMax),
            });
        }

        catalog.PutSetting("key", [1, 2, 3]);
        catalog.NextLayer = catalog.NextDisk = catalog.NextSnapshot = 6;
        return catalog;
    }

    private static string Describe(Catalog catalog)
    {
        var disks = catalog.Disks.Select(static row => $"{row with { Attributes = default }} {Convert.ToHexString(row.Attributes.Span)}");
        var snapshots = catalog.Snapshots.Select(static row => row.ToString());
        var settings = catalog.Settings.Select(static entry => $"{entry.Key}={Convert.ToHexString(entry.Value)}");
        return string.Join('\n', disks.Concat(snapshots).Concat(settings).Order(StringComparer.Ordinal).Append($"{catalog.NextLayer} {catalog.NextDisk} {catalog.NextSnapshot}"));
    }

    internal static CheckpointFile MakeCheckpoint(Random random)
    {
        var words = new ulong[PageSet.ChunkWords];
        for (var i = 0; i < words.Length; i++)
            words[i] = (ulong)random.NextInt64();
        var metadata = new byte[random.Next(100)];
        random.NextBytes(metadata);
        return new CheckpointFile
        {
            StoreId = Identity(random),
            Number = (ulong)random.NextInt64(),
            Start = new LogStart((ulong)random.NextInt64(), new LogPosition((uint)random.Next(1, 999), (uint)random.Next()), (ulong)random.NextInt64(), ContinueInSegment: true, (uint)random.Next()),
            ImageSegment = (uint)random.Next(),
            Map = new MapCheckpoint(Identity(random), Identity(random), metadata, [9, 8, 7], random.Next(), (uint)random.Next(), (uint)random.Next(), "pages-1.log", 64, random.NextInt64(64, 1L << 40), (uint)random.Next(), (uint)random.Next(), metadata),
            Catalog = MakeCatalog(random).ToImage([]),
            Segments = [new SegmentState(1, 1 << 20, (uint)random.Next(1 << 20), random.Next(), random.Next(2) == 0), new SegmentState(7, 1 << 20, 4096, 0, true)],
            Layers = [new LayerImage(new LayerId(3), random.NextInt64(), random.NextInt64(), [((uint)random.Next(100), words)])],
        };
    }
}
