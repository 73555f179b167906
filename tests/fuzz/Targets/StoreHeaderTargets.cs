using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Tests.Fuzz;

/// <summary>A superblock slot. What is taken is written again to the same bytes, but for those that the format says are not looked at.</summary>
internal sealed class SuperblockTarget : FuzzTarget
{
    private readonly byte[] again = new byte[Superblock.SizeBytes];

    public override string Name => "superblock";

    public override int InputBytesMax => Superblock.SizeBytes + 512;

    public override IEnumerable<byte[]> Seeds()
    {
        var bytes = new byte[Superblock.SizeBytes];
        new Superblock { Sequence = 1, StoreId = TestStore.Id, State = StoreState.Open, SegmentBytes = 1 << 20, TweakSalt = 0x100, CreatedTicks = 638_000_000_000_000_000 }.Write(bytes);
        yield return bytes;
        bytes = new byte[Superblock.SizeBytes];
        new Superblock
        {
            Sequence = 7, StoreId = TestStore.Id, Incompatible = 3, Compatible = 8, Autoclear = 9, State = StoreState.Clean, CheckpointNumber = 3, CheckpointBytes = 1126, CheckpointChecksum = 77,
            SegmentBytes = 1 << 30, TweakSalt = 0x100, CreatedTicks = 638_000_000_000_000_000,
        }.Write(bytes);
        yield return bytes;
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => FieldsOf(Superblock.Layout, 0);

    public override byte[] Mend(byte[] input) => input.Length >= Superblock.SizeBytes ? [.. Unit.Format.Mend.Header(input[..Superblock.SizeBytes]), .. input[Superblock.SizeBytes..]] : Unit.Format.Mend.Header(input);

    public override string Execute(byte[] input)
    {
        if (!Superblock.TryRead(input, out var read, out var fault))
            return Refused(fault);
        var slot = input[..Superblock.SizeBytes];
        Require(slot.AsSpan(0, 8).SequenceEqual("CowStore"u8), "S1 does not hold");
        Require(BinaryPrimitives.ReadUInt32LittleEndian(slot.AsSpan(8)) == 1, "S3 does not hold");
        Require(read.Sequence != 0 && read.State is StoreState.Clean or StoreState.Open, "S4 or S5 does not hold");
        Require(read.SegmentBytes is >= 1 << 20 and <= 1 << 30 && read.SegmentBytes % 4096 == 0, "S6 does not hold");
        _ = new DateTime(read.CreatedTicks);
        // The zeros that are not looked at, and then the checksum over them.
        slot.AsSpan(68, 4).Clear();
        slot.AsSpan(112).Clear();
        read.Write(again);
        Require(Unit.Format.Mend.Header(slot).AsSpan().SequenceEqual(again), "it is not written as it was read");
        return "accepted";
    }
}

/// <summary>A segment header.</summary>
internal sealed class SegmentTarget : FuzzTarget
{
    private readonly byte[] again = new byte[SegmentHeader.SizeBytes];

    public override string Name => "segment";

    public override int InputBytesMax => SegmentHeader.SizeBytes + 512;

    public override IEnumerable<byte[]> Seeds()
    {
        var bytes = new byte[SegmentHeader.SizeBytes];
        new SegmentHeader(TestStore.Id, TestStore.Segment, 1 << 20).Write(bytes);
        yield return bytes;
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => FieldsOf(SegmentHeader.Layout, 0);

    public override byte[] Mend(byte[] input) => input.Length >= SegmentHeader.SizeBytes ? [.. Unit.Format.Mend.Header(input[..SegmentHeader.SizeBytes]), .. input[SegmentHeader.SizeBytes..]] : Unit.Format.Mend.Header(input);

    public override string Execute(byte[] input)
    {
        var any = SegmentHeader.TryReadAny(input, TestStore.Segment, out _);
        if (!SegmentHeader.TryRead(input, TestStore.Id, TestStore.Segment, out var read, out var fault))
            return Refused(fault) + (any ? " of another store" : "");
        Require(any && read.StoreId == TestStore.Id && read.Number == TestStore.Segment, "G4 or G5 does not hold");
        Require(read.SegmentBytes is >= 1 << 20 and <= 1 << 30 && read.SegmentBytes % 4096 == 0, "G6 does not hold");
        var header = input[..SegmentHeader.SizeBytes];
        header.AsSpan(40).Clear();
        read.Write(again);
        Require(Unit.Format.Mend.Header(header).AsSpan().SequenceEqual(again), "it is not written as it was read");
        return "accepted";
    }
}

/// <summary>A batch with its descriptors and payloads, as the log's reader takes it: header, link, descriptors, checksums of payloads.</summary>
internal sealed class BatchTarget : FuzzTarget
{
    private const int SegmentBytes = 1 << 20;
    private const ulong Sequence = 6;

    private static readonly LogPosition Place = new(TestStore.Segment, 8192);
    private static readonly LogPosition Before = new(TestStore.Segment - 1, 20480);

    private readonly byte[] batch = new byte[BatchHeader.BatchBytesMax];
    private readonly byte[] again = new byte[BatchHeader.BlockBytes];

    public override string Name => "batch";

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Make([]);
        yield return Make([Extent(3, 4, ExtentEncoding.Raw), Extent(0, 16, ExtentEncoding.Lz4 | ExtentEncoding.Xts), Zero(), CatalogRecord(DescriptorType.Catalog)]);
        yield return Make([Extent(0, 1, ExtentEncoding.Xts), CatalogRecord(DescriptorType.CatalogImage), Extent(15, 1, ExtentEncoding.Lz4)]);
        yield return Make([.. Enumerable.Repeat(Zero(), 126)]);
        yield return Make([Extent(0, 16, ExtentEncoding.Raw), Reference()]);
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(BatchHeader.Layout, 0))
            yield return field;
        for (var at = BatchHeader.SizeBytes; at + DescriptorFields.FixedBytes < input.Length && at < BatchHeader.BlockBytes && input[at + 1] > 0; at += input[at + 1] * 8)
        {
            foreach (var field in FieldsOf(DescriptorFields.Layout, at))
                yield return field;
        }
    }

    public override byte[] Mend(byte[] input) => input.Length >= BatchHeader.BlockBytes ? Unit.Format.Mend.Batch(input, TestStore.Tag) : input;

    public override string Execute(byte[] input)
    {
        if (!BatchHeader.TryRead(input, TestStore.Tag, Place, SegmentBytes, out var header, out var fault))
            return Refused(fault);
        Require(header.Position == Place && header.LengthBytes is >= 4096 and <= 524288 && header.LengthBytes % 4096 == 0, "B3 or B4 does not hold");
        Require(Place.OffsetBytes + header.LengthBytes <= SegmentBytes, "B4: the batch ends behind its segment");
        var link = header.FindLinkFault(Sequence, Before);
        Require(link is null == (header.Sequence == Sequence && header.PreviousEnd == Before), "B5 or B7 is told wrong");
        // Zero fields are cleared by the writer, and stand for nothing.
        var block = input[..BatchHeader.BlockBytes];
        block.AsSpan(52, 12).Clear();
        block.CopyTo(again, 0);
        header.Write(again, TestStore.Tag);
        block.AsSpan(BatchHeader.SizeBytes + header.DescriptorBytes).Clear();
        Require(Unit.Format.Mend.Batch(block, TestStore.Tag).AsSpan().SequenceEqual(again), "the header is not written as it was read");
        if (header.FindDescriptorFault(input) is { } broken)
            return Refused(broken);

        batch.AsSpan().Clear();
        input.AsSpan(0, Math.Min(input.Length, (int)header.LengthBytes)).CopyTo(batch);
        var whole = batch.AsSpan(0, (int)header.LengthBytes);
        RequireSound(whole, header);
        return "accepted" + (link is null ? "" : " unlinked") + (LogReader.FindDamage(whole) is null ? " whole" : " torn");
    }

    private static void RequireSound(ReadOnlySpan<byte> whole, BatchHeader header)
    {
        var rest = BatchHeader.DescriptorsOf(whole);
        var count = 0;
        for (; rest.Length > 0; count++)
        {
            Require(Descriptor.TryRead(rest, whole.Length, out var descriptor, out _), "B6 holds and a descriptor is not valid");
            Require(descriptor.SizeBytes % 8 == 0 && descriptor.SizeBytes == (28 + (4 * descriptor.ChecksumCount) + 7) / 8 * 8, "D2 does not hold");
            Require(descriptor.FirstBlock + descriptor.BlockCount <= 16 && descriptor.Page.Value < 1 << 30, "D4 does not hold");
            Require(descriptor.Type != DescriptorType.Zero || (descriptor.PayloadBytes == 0 && descriptor.PayloadOffset == 0), "D5 does not hold");
            Require(
                descriptor.Type == DescriptorType.Zero || (descriptor.PayloadBytes >= 0 && descriptor.PayloadOffset >= 4096 && (long)descriptor.PayloadOffset + descriptor.PayloadBytes <= whole.Length),
                "D5 does not hold");
            Require(descriptor.Type is not (DescriptorType.Extent or DescriptorType.Zero or DescriptorType.Reference) || (!descriptor.Layer.IsNone && descriptor.ExtentId != 0), "D3 does not hold");
            rest = rest[descriptor.SizeBytes..];
        }

        Require(count == header.DescriptorCount, "B6 does not hold");
    }

    private static byte[] Make(IReadOnlyList<(byte[] Descriptor, byte[] Payload, Action<byte[], int> Place)> records)
    {
        var payloadAt = BatchHeader.BlockBytes;
        var descriptorAt = BatchHeader.SizeBytes;
        var bytes = new byte[BatchHeader.BlockBytes + ((records.Sum(static record => record.Payload.Length) + 4095) / 4096 * 4096)];
        foreach (var (descriptor, payload, place) in records)
        {
            place(descriptor, payloadAt);
            descriptor.CopyTo(bytes, descriptorAt);
            payload.CopyTo(bytes, payloadAt);
            descriptorAt += descriptor.Length;
            payloadAt += payload.Length;
        }

        new BatchHeader
        {
            LengthBytes = (uint)bytes.Length, Sequence = Sequence, DurableSequence = 5, Position = Place, PreviousEnd = Before, DescriptorCount = (ushort)records.Count,
            DescriptorBytes = (ushort)(descriptorAt - BatchHeader.SizeBytes),
        }.Write(bytes, TestStore.Tag);
        return bytes;
    }

    private static (byte[] Descriptor, byte[] Payload, Action<byte[], int> Place) Reference()
    {
        var payload = ReferenceTarget.Payload();
        return (new byte[Descriptor.CatalogSizeBytes], payload, (descriptor, at) =>
        {
            Descriptor.WriteReference(descriptor, new LayerId(1), new PageNumber(6), ReferenceTarget.RecordId, at, payload.Length);
            Descriptor.WriteChecksum(descriptor, 0, Crc32C.Compute(payload));
        });
    }

    private static (byte[] Descriptor, byte[] Payload, Action<byte[], int> Place) Extent(int first, int count, ExtentEncoding encoding)
    {
        var compressed = encoding.HasFlag(ExtentEncoding.Lz4);
        var payload = new byte[compressed ? 100 : count * StoreFormat.BlockBytes];
        new Random(count).NextBytes(payload);
        return (new byte[Descriptor.ExtentSizeBytes(count, compressed)], payload, (descriptor, at) =>
        {
            Descriptor.WriteExtent(descriptor, new LayerId(1), new PageNumber(5), first, count, encoding, 9, at, payload.Length);
            for (var i = 0; i < (compressed ? 1 : count); i++)
                Descriptor.WriteChecksum(descriptor, i, Crc32C.Compute(compressed ? payload : payload.AsSpan(i * 4096, 4096)));
        });
    }

    private static (byte[] Descriptor, byte[] Payload, Action<byte[], int> Place) Zero() =>
        (new byte[Descriptor.ZeroSizeBytes], [], static (descriptor, _) => Descriptor.WriteZero(descriptor, new LayerId(1), new PageNumber(6), 2, 5, 10));

    private static (byte[] Descriptor, byte[] Payload, Action<byte[], int> Place) CatalogRecord(DescriptorType type)
    {
        var payload = TestStore.Catalog().ToImage([1])[0];
        return (new byte[Descriptor.CatalogSizeBytes], payload, (descriptor, at) =>
        {
            Descriptor.WriteCatalog(descriptor, type, at, payload.Length);
            Descriptor.WriteChecksum(descriptor, 0, Crc32C.Compute(payload));
        });
    }
}
