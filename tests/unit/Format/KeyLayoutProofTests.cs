using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>The layouts of key slots and key files, field by field, as LayoutProofTests does it for the others.</summary>
public sealed class KeyLayoutProofTests
{
    private delegate void Writer(Span<byte> bytes);

    private sealed record SlotValues(byte Number, KeySlotCost Cost, byte Salt, byte Nonce, byte WrappedKey, byte Tag)
    {
        public KeySlot Make()
        {
            var slot = new KeySlot { Number = Number, Cost = Cost };
            slot.Salt.AsSpan().Fill(Salt);
            slot.Nonce.AsSpan().Fill(Nonce);
            slot.WrappedKey.AsSpan().Fill(WrappedKey);
            slot.Tag.AsSpan().Fill(Tag);
            return slot;
        }
    }

    [Fact]
    public void KeySlotFields()
    {
        var first = new SlotValues(1, new KeySlotCost(1, 1, 1), 1, 1, 1, 1);
        new FieldProof<SlotValues>(KeySlot.Layout, static value => Bytes(KeySlot.Length, bytes => value.Make().Write(bytes)), "", first)
            .Fixed("kdf", [1]).Fixed("wrap", [1]).Zeros("reserved")
            .Field("number", first with { Number = 2 })
            .Field("passes", first with { Cost = first.Cost with { Passes = 0x7EFEFEFE } })
            .Field("memory_kib", first with { Cost = first.Cost with { MemoryKiB = 0x7EFEFEFE } })
            .Field("lanes", first with { Cost = first.Cost with { Lanes = 0x7EFEFEFE } })
            .Field("salt", first with { Salt = 2 })
            .Field("nonce", first with { Nonce = 2 })
            .Field("wrapped_key", first with { WrappedKey = 2 })
            .Field("tag", first with { Tag = 2 })
            .Done();

        static byte[] Fill(byte value) => Bytes(KeySlotTable.IdBytes, bytes => bytes.Fill(value));
        new FieldProof<(byte SetId, byte KeyCheck, byte Slots)>(
            KeySlotTable.Layout,
            value => Bytes(KeySlotTable.HeaderBytes + KeySlot.Length, bytes => new KeySlotTable(Fill(value.SetId), Fill(value.KeyCheck), [(first with { Number = value.Slots }).Make()]).Write(bytes)),
            "crc",
            (1, 1, 1))
            .Fixed("magic", "CSKEYSET"u8).Fixed("version", [1, 0]).Fixed("slot_count", [1, 0])
            .Field("set_id", (2, 1, 1))
            .Field("key_check", (1, 2, 1))
            .Done("slots");
        new FieldProof<(byte SetId, byte KeyCheck, ulong Generation)>(
            KeySlotTable.NewLayout,
            value => Bytes(KeySlotTable.NewHeaderBytes + KeySlot.Length, bytes => new KeySlotTable(Fill(value.SetId), Fill(value.KeyCheck), [first.Make()], value.Generation).Write(bytes)),
            "crc",
            (1, 1, 1))
            .Fixed("magic", "CSKEYSET"u8).Fixed("version", [2, 0]).Fixed("slot_count", [1, 0])
            .Field("set_id", (2, 1, 1))
            .Field("key_check", (1, 2, 1))
            .Field("generation", (1, 1, 0xFEFEFEFEFEFEFEFE))
            .Done("slots");
    }

    private sealed record KeyValues(byte SetId, ulong Generation, Guid KeyId, ulong FirstExtent, byte Nonce, byte Wrapped, byte Tag)
    {
        public StoredKey Make()
        {
            var setId = new byte[KeySlotTable.IdBytes];
            setId.AsSpan().Fill(SetId);
            var key = new StoredKey { SetId = setId, Generation = Generation, KeyId = KeyId, FirstExtent = FirstExtent };
            key.Nonce.Fill(Nonce);
            key.Wrapped.Fill(Wrapped);
            key.Tag.Fill(Tag);
            return key;
        }
    }

    [Fact]
    public void KeyFileFields()
    {
        const ulong All = 0xFEFEFEFEFEFEFEFE;
        var first = new KeyValues(1, 1, new Guid("00112233-4455-6677-8899-aabbccddeeff"), 1, 1, 1, 1);
        new FieldProof<KeyValues>(StoredKey.Layout, static value => Bytes(StoredKey.SizeBytes, bytes => value.Make().Write(bytes)), "crc", first)
            .Fixed("magic", "CSDATKEY"u8).Fixed("version", [1, 0, 0, 0]).Zeros()
            .Field("set_id", first with { SetId = 2 })
            .Field("generation", first with { Generation = All })
            .Field("key_id", first with { KeyId = new Guid("ffeeddcc-bbaa-9988-7766-554433221100") })
            .Field("first_extent", first with { FirstExtent = All })
            .Field("nonce", first with { Nonce = 2 })
            .Field("wrapped_key", first with { Wrapped = 2 })
            .Field("tag", first with { Tag = 2 })
            .Done();
    }

    private static byte[] Bytes(int length, Writer write)
    {
        // What a writer leaves untouched would show.
        var bytes = new byte[length];
        bytes.AsSpan().Fill(0xA5);
        write(bytes);
        return bytes;
    }
}
