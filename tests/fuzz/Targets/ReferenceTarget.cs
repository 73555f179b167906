using System.Runtime.InteropServices;
using CowScsi.Engine;

namespace CowScsi.Tests.Fuzz;

/// <summary>The payload of a reference record: what is taken stands for entries that are written and read again to the same.</summary>
internal sealed class ReferenceTarget : FuzzTarget
{
    public const ulong RecordId = 50;

    private static readonly LogPosition Batch = new(TestStore.Segment, 8192);
    private static readonly LogPosition Record = new(TestStore.Segment, 12288);

    public override string Name => "reference";

    public override int InputBytesMax => 2 * ReferenceRun.PayloadBytesMax;

    /// <summary>Raw blocks, a compressed one, zeros.</summary>
    public static byte[] Payload()
    {
        var page = default(MapPage);
        for (var i = 0; i < 4; i++)
            page[1 + i] = MapEntry.Data(9, new LogPosition(1, (uint)(0x4000 + (i * StoreFormat.BlockBytes))), (uint)i, StoreFormat.BlockBytes, i, 16, ExtentEncoding.Xts);
        page[6] = MapEntry.Data(10, new LogPosition(2, 0x8000), 78, 900, 3, 16, ExtentEncoding.Lz4);
        page[15] = new MapEntry { Flags = (byte)EntryKind.Zero };
        return Bytes(in page, 0x805E);
    }

    public override IEnumerable<byte[]> Seeds()
    {
        yield return Payload();
        var page = default(MapPage);
        for (var i = 0; i < StoreFormat.PageBlocks; i++)
            page[i] = MapEntry.Data((ulong)(1 + i), new LogPosition(1, (uint)(0x4000 + (i * 100))), (uint)i, 100, 0, 1, ExtentEncoding.Lz4 | ExtentEncoding.Xts);
        yield return Bytes(in page, ushort.MaxValue);
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        for (var at = 0; at + ReferenceRun.HeaderBytes <= input.Length; at += ReferenceRun.LengthOf(input.AsSpan(at)))
        {
            foreach (var field in FieldsOf(ReferenceRun.Layout, at))
                yield return field;
        }
    }

    public override string Execute(byte[] input)
    {
        var page = default(MapPage);
        if (!ReferenceRun.TryRead(input, RecordId, Batch, Record, ref page, out var mask, out var fault))
            return Refused(fault);
        Require(input.Length <= ReferenceRun.PayloadBytesMax && mask != 0, "X1 or X2 does not hold");
        var wanted = page;
        for (var block = 0; block < StoreFormat.PageBlocks; block++)
            RequireSound(in page[block], ((mask >> block) & 1) != 0);
        var written = Bytes(in wanted, mask);
        var again = default(MapPage);
        Require(ReferenceRun.TryRead(written, RecordId, Batch, Record, ref again, out var same, out fault) && same == mask, $"what was read is not written: {fault}");
        Require(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in page, 1)).SequenceEqual(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in again, 1))), "it is not written as it was read");
        return "accepted";
    }

    private static void RequireSound(in MapEntry entry, bool isInMask)
    {
        Require(isInMask == (entry.Kind != EntryKind.None), "an entry outside the mask, or none inside");
        if (entry.Kind == EntryKind.Zero)
            Require(!entry.IsShared && entry.ExtentId == RecordId && entry.Segment == Batch.Segment && entry.OffsetBytes == Batch.OffsetBytes, "zeros that are not the record's own");
        if (entry.Kind != EntryKind.Data)
            return;
        Require(entry.IsShared && !entry.IsInherited && entry.ExtentId is > 0 and < RecordId && entry.Segment is > 0 and <= TestStore.Segment, "X4 does not hold");
        Require(entry.OffsetBytes is >= 8192 and < (1 << 30) + (16 * 4096), "X4 does not hold");
        Require(entry.IndexInExtent < entry.ExtentBlocks && (entry.IsCompressed ? entry.StoredBytes >= 16 : entry.StoredBytes == 4096), "X5 does not hold");
    }

    private static byte[] Bytes(in MapPage page, ushort mask)
    {
        var bytes = new byte[ReferenceRun.PayloadBytes(in page, mask)];
        ReferenceRun.Write(in page, mask, bytes);
        return bytes;
    }
}
