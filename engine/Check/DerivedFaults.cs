using System.Runtime.InteropServices;

namespace CowScsi.Engine;

/// <summary>The predicates of docs/format.md, "What is derived": null where they hold, else the fault, which begins with its name.</summary>
internal static class DerivedFaults
{
    /// <summary>A page that a layer's bitmap has, as the index answers for it.</summary>
    public static string? OfPage(MapOutcome outcome) => outcome switch
    {
        MapOutcome.Found => null,
        MapOutcome.NotFound => "M1: the index does not hold the page",
        _ => "M1: the page does not match its check",
    };

    /// <summary>An entry of a layer's page, beside the one that the log's records make.</summary>
    public static string? OfEntry(in MapEntry found, in MapEntry wanted, LayerId layer)
    {
        if (MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in found, 1)).SequenceEqual(MemoryMarshal.AsBytes(MemoryMarshal.CreateReadOnlySpan(in wanted, 1))))
            return null;
        if (found.Kind > EntryKind.Zero || (found.IsShared && found.Kind != EntryKind.Data))
            return $"M2: kind and flags are {found.Flags:x2}h";
        if (found.Kind == EntryKind.None)
            return $"M6: it is not mapped, the log has {Name(in wanted)}";
        if (wanted.Kind == EntryKind.None)
            return $"M5: it is {Name(in found)}, the log has no such record for the block";
        if (found.ExtentId != wanted.ExtentId)
            return $"M5: it is {Name(in found)}, the log's newest for the block is {Name(in wanted)}";
        if (found.IsShared != wanted.IsShared)
            return $"M7: {Name(in found)} is {(found.IsShared ? "flagged" : "not flagged")} as shared, and the record is {(wanted.IsShared ? "a reference" : "the extent's own")}";
        return found.IsInherited != wanted.IsInherited
            ? $"M4: {Name(in found)} is {(found.IsInherited ? "flagged" : "not flagged")} as inherited, and the record is {(wanted.IsInherited ? "of an ancestor" : "of " + layer)}"
            : $"M3: it is {Name(in found)}, the record is {Name(in wanted)}";
    }

    public static string? OfSegment(uint number, long counted, long there) =>
        counted == there ? null : $"U1: segment {number} counts {counted} map entries, there are {there}";

    public static string OfReferences(uint segment) => $"U4: segment {segment} holds a reference record that is needed, and is not flagged";

    public static string? OfStoredBytes(LayerId layer, long counted, long there) =>
        counted == there ? null : $"U2: {layer} counts {counted} stored bytes, there are {there}";

    public static string? OfWrittenBlocks(LayerId layer, long counted, long there) =>
        counted == there ? null : $"U3: {layer} counts {counted} written blocks, there are {there}";

    /// <param name="reason">Why the map of the checkpoint could not be taken; null where it could.</param>
    public static string? OfIndex(string? reason) => reason is null ? null : $"P5: the checkpoint's map cannot be used: {reason}";

    /// <summary>The two slots of the superblock, of which <paramref name="newest"/> counts.</summary>
    public static string? OfSlots(Superblock newest, Superblock? other) => newest.Sequence == 1 || other?.Sequence == newest.Sequence - 1
        ? null
        : $"S8: update {newest.Sequence - 1} is not there, although it was flushed before update {newest.Sequence}";

    /// <summary>An extent's stored bytes; <paramref name="blocks"/> says which of its blocks do not match, of a compressed one all.</summary>
    public static string? OfExtent(Descriptor descriptor, ReadOnlySpan<byte> payload, out ushort blocks)
    {
        blocks = 0;
        if (descriptor.IsCompressed)
        {
            if (Crc32C.Compute(payload) != descriptor.Checksum(0))
                blocks = (ushort)((1 << descriptor.BlockCount) - 1);
        }
        else
        {
            for (var i = 0; i < descriptor.BlockCount; i++)
            {
                if (Crc32C.Compute(payload.Slice(i * StoreFormat.BlockBytes, StoreFormat.BlockBytes)) != descriptor.Checksum(i))
                    blocks |= (ushort)(1 << i);
            }
        }

        return blocks == 0
            ? null
            : $"E1: {System.Numerics.BitOperations.PopCount(blocks)} of {descriptor.BlockCount} blocks of extent {descriptor.ExtentId} ({descriptor.Layer}, page {descriptor.Page.Value}) do not match their checksum";
    }

    private static string Name(in MapEntry entry) =>
        $"extent {entry.ExtentId} at segment {entry.Segment} offset {entry.OffsetBytes} ({entry.StoredBytes} bytes, checksum {entry.Checksum:x8}, place {entry.Place:x2}h, flags {entry.Flags:x2}h)";
}
