using System.Diagnostics.CodeAnalysis;
using System.Security.Cryptography;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>One slot as it is listed.</summary>
/// <param name="Number">Identity of the slot in its set, 1 to 255.</param>
/// <param name="Cost">What one guess at its passphrase costs.</param>
public readonly record struct KeySlotInfo(int Number, KeySlotCost Cost);

/// <summary>
/// The passphrases that open one disk key (<see cref="WrapsDiskKey"/>) or, in tables of version 1, one data key: up to 8 slots, each wrapping
/// the same key. Immutable: adding and removing give a new set, which is in force once its bytes are stored. Safe for any number of threads.
/// </summary>
/// <remarks>
/// Every method that takes a passphrase computes Argon2id for tens of milliseconds up to minutes, by the cost of the slots. Passphrases
/// are bytes, taken as they are; they are 1 to <see cref="PassphraseBytesMax"/> long.
/// </remarks>
public sealed class KeySlotSet
{
    /// <summary>Slots of one set at most.</summary>
    public const int SlotsMax = KeySlotTable.SlotsMax;

    /// <summary>Length of the stored form at most, in bytes.</summary>
    public const int LengthMax = KeySlotTable.LengthMax;

    /// <summary>Longer input is a file given by mistake, not a passphrase.</summary>
    public const int PassphraseBytesMax = 4096;

    private const int KekBytes = 32;

    private readonly KeySlotTable table;
    private readonly KeySlotInfo[] slots;

    private KeySlotSet(KeySlotTable table)
    {
        this.table = table;
        slots = new KeySlotInfo[table.Slots.Length];
        for (var i = 0; i < slots.Length; i++)
            slots[i] = new KeySlotInfo(table.Slots[i].Number, table.Slots[i].Cost);
    }

    /// <summary>Identity of the key that the slots wrap: the same for every disk that inherits it, whatever its slots.</summary>
    public Guid Id => new(table.SetId);

    /// <summary>True where the slots wrap a disk key, and the data key lies in the set's key file; false where they wrap the data key itself.</summary>
    public bool WrapsDiskKey => table.WrapsDiskKey;

    /// <summary>Where they wrap a disk key: the least generation that the key file may be of.</summary>
    internal ulong Generation => table.Generation;

    internal ReadOnlySpan<byte> SetId => table.SetId;

    public IReadOnlyList<KeySlotInfo> Slots => slots;

    /// <summary>Length of the stored form in bytes.</summary>
    public int Length => table.Length;

    /// <summary>A new random disk key with its first slot. The caller disposes the key.</summary>
    public static KeySlotSet Create(ReadOnlySpan<byte> passphrase, out LockedKey key, KeySlotCost cost) => Create(passphrase, out key, cost, generation: 1);

    /// <summary>The same of either version: generation 0 makes slots of version 1, around a data key; no disk gets such any more.</summary>
    internal static KeySlotSet Create(ReadOnlySpan<byte> passphrase, out LockedKey key, KeySlotCost cost, ulong generation)
    {
        CheckPassphrase(passphrase);
        CheckCost(cost);
        var fresh = LockedKey.Generate();
        try
        {
            var setId = RandomNumberGenerator.GetBytes(KeySlotTable.IdBytes);
            var slot = Wrap(fresh, 1, setId, passphrase, cost);
            var set = new KeySlotSet(new KeySlotTable(setId, KeyCheck(fresh, setId, generation != 0), [slot], generation));
            key = fresh;
            return set;
        }
        catch
        {
            fresh.Dispose();
            throw;
        }
    }

    /// <summary>
    /// Reads the stored form. Throws <see cref="StoreError.Corrupt"/>; <paramref name="where"/> says in the message whose it is.
    /// </summary>
    public static KeySlotSet Read(ReadOnlySpan<byte> stored, string where) =>
        TryRead(stored, out var set, out var violation)
            ? set
            : throw new StoreException(
                StoreError.Corrupt,
                $"the key slots of {where} are not valid ({violation}): restore them from a backup of the store, the data cannot " +
                "be read without them");

    /// <summary>Reads the stored form.</summary>
    /// <param name="violation">The predicate that does not hold; null on success.</param>
    public static bool TryRead(
        ReadOnlySpan<byte> stored,
        [NotNullWhen(true)] out KeySlotSet? set,
        [NotNullWhen(false)] out string? violation)
    {
        set = null;
        if (!KeySlotTable.TryRead(stored, out var table, out violation))
            return false;
        set = new KeySlotSet(table);
        return true;
    }

    /// <summary>Writes the stored form: <see cref="Length"/> bytes.</summary>
    public void Write(Span<byte> destination) => table.Write(destination);

    /// <summary>The same slots, that take no key file of an earlier generation.</summary>
    internal KeySlotSet WithGeneration(ulong generation) => new(new KeySlotTable(table.SetId, table.KeyCheck, table.Slots, generation));

    /// <summary>Opens the key with the first slot that the passphrase fits. The caller disposes the key.</summary>
    /// <exception cref="StoreException"><see cref="StoreError.Key"/>: it fits none, or is empty.</exception>
    public LockedKey Unlock(ReadOnlySpan<byte> passphrase) =>
        TryUnlock(passphrase, out var key)
            ? key
            : throw new StoreException(
                StoreError.Key,
                $"the passphrase fits none of the {Count(slots.Length)}: give the one that was set for this disk");

    /// <summary>As <see cref="Unlock"/>; false where the passphrase fits no slot. An empty passphrase is refused by an exception.</summary>
    public bool TryUnlock(ReadOnlySpan<byte> passphrase, [NotNullWhen(true)] out LockedKey? key)
    {
        CheckPassphrase(passphrase);
        foreach (var slot in table.Slots)
        {
            if (TryUnwrap(slot, passphrase, out key))
                return true;
        }

        key = null;
        return false;
    }

    /// <summary>
    /// A set with one more slot for the same key. Throws <see cref="StoreError.Invalid"/> where all slots are taken and
    /// <see cref="StoreError.Key"/> where <paramref name="key"/> is not this set's.
    /// </summary>
    /// <param name="number">Number of the new slot: the lowest that is free.</param>
    public KeySlotSet AddSlot(LockedKey key, ReadOnlySpan<byte> passphrase, KeySlotCost cost, out int number)
    {
        ArgumentNullException.ThrowIfNull(key);
        CheckPassphrase(passphrase);
        CheckCost(cost);
        if (!Owns(key))
            throw new StoreException(StoreError.Key, "the key is not the one of these key slots: open the disk that they belong to");
        if (table.Slots.Length == SlotsMax)
            throw new StoreException(StoreError.Invalid, $"all {SlotsMax} key slots are in use: remove one first");

        var index = 0;
        while (index < table.Slots.Length && table.Slots[index].Number == index + 1)
            index++;
        number = index + 1;
        var added = Wrap(key, (byte)number, table.SetId, passphrase, cost);
        KeySlot[] all = [.. table.Slots[..index], added, .. table.Slots[index..]];
        return new KeySlotSet(new KeySlotTable(table.SetId, table.KeyCheck, all, table.Generation));
    }

    /// <summary>
    /// A set without the slot <paramref name="number"/>. Throws <see cref="StoreError.NotFound"/> where there is none of that number and
    /// <see cref="StoreError.Invalid"/> where it is the last one: without slots the data could never be read again.
    /// </summary>
    public KeySlotSet RemoveSlot(int number)
    {
        var index = Array.FindIndex(table.Slots, slot => slot.Number == number);
        if (index < 0)
        {
            throw new StoreException(
                StoreError.NotFound,
                $"there is no key slot {number}; in use: {string.Join(", ", slots.Select(slot => slot.Number))}");
        }
        if (table.Slots.Length == 1)
        {
            throw new StoreException(
                StoreError.Invalid,
                $"key slot {number} is the last one, the data could never be read again: add another first");
        }
        KeySlot[] rest = [.. table.Slots[..index], .. table.Slots[(index + 1)..]];
        return new KeySlotSet(new KeySlotTable(table.SetId, table.KeyCheck, rest, table.Generation));
    }

    /// <summary>The number of the first slot that a passphrase fits, or 0.</summary>
    public int FindSlot(ReadOnlySpan<byte> passphrase)
    {
        CheckPassphrase(passphrase);
        foreach (var slot in table.Slots)
        {
            if (!TryUnwrap(slot, passphrase, out var key))
                continue;
            key.Dispose();
            return slot.Number;
        }

        return 0;
    }

    /// <summary>True where <paramref name="key"/> is the one that these slots wrap.</summary>
    public bool Owns(LockedKey key)
    {
        ArgumentNullException.ThrowIfNull(key);
        return CryptographicOperations.FixedTimeEquals(KeyCheck(key, table.SetId, WrapsDiskKey), table.KeyCheck);
    }

    private static KeySlot Wrap(LockedKey key, byte number, byte[] setId, ReadOnlySpan<byte> passphrase, KeySlotCost cost)
    {
        var slot = new KeySlot { Number = number, Cost = cost };
        RandomNumberGenerator.Fill(slot.Salt);
        RandomNumberGenerator.Fill(slot.Nonce);

        using var page = new LockedPage();
        var kek = page.Bytes(KekBytes);
        Span<byte> associated = stackalloc byte[KeySlot.HeaderBytes + KeySlotTable.IdBytes];
        WriteAssociated(slot, setId, associated);
        Argon2.DeriveId(passphrase, slot.Salt, cost, kek);
        using var gcm = new AesGcm(kek, KeySlot.TagBytes);
        gcm.Encrypt(slot.Nonce, key.Bytes, slot.WrappedKey, slot.Tag, associated);
        return slot;
    }

    private bool TryUnwrap(KeySlot slot, ReadOnlySpan<byte> passphrase, [NotNullWhen(true)] out LockedKey? key)
    {
        using var page = new LockedPage();
        var kek = page.Bytes(KekBytes);
        Span<byte> associated = stackalloc byte[KeySlot.HeaderBytes + KeySlotTable.IdBytes];
        WriteAssociated(slot, table.SetId, associated);
        Argon2.DeriveId(passphrase, slot.Salt, slot.Cost, kek);

        var unwrapped = LockedKey.Empty();
        try
        {
            using var gcm = new AesGcm(kek, KeySlot.TagBytes);
            gcm.Decrypt(slot.Nonce, slot.WrappedKey, slot.Tag, unwrapped.Writable, associated);
            if (unwrapped.HalvesDiffer && Owns(unwrapped))
            {
                key = unwrapped;
                return true;
            }

            unwrapped.Dispose();
            throw new StoreException(
                StoreError.Corrupt,
                $"key slot {slot.Number} opens, but its key does not match key_check: restore the key slots from a backup of the " +
                "store");
        }
        catch (AuthenticationTagMismatchException)
        {
            // The passphrase is not this slot's (or the slot was forged, which looks the same from here).
            unwrapped.Dispose();
            key = null;
            return false;
        }
    }

    private static void WriteAssociated(KeySlot slot, byte[] setId, Span<byte> associated)
    {
        slot.WriteHeader(associated);
        setId.CopyTo(associated[KeySlot.HeaderBytes..]);
    }

    private static byte[] KeyCheck(LockedKey key, byte[] setId, bool isDiskKey)
    {
        Span<byte> message = stackalloc byte[16 + KeySlotTable.IdBytes];
        (isDiskKey ? "CowScsi disk key"u8 : "CowScsi data key"u8).CopyTo(message);
        setId.CopyTo(message[16..]);
        Span<byte> mac = stackalloc byte[HMACSHA256.HashSizeInBytes];
        HMACSHA256.HashData(key.Bytes, message, mac);
        return mac[..KeySlotTable.KeyCheckBytes].ToArray();
    }

    private static void CheckPassphrase(ReadOnlySpan<byte> passphrase)
    {
        if (passphrase.IsEmpty)
            throw new StoreException(StoreError.Key, "the passphrase is empty: give one of at least one byte");
        if (passphrase.Length > PassphraseBytesMax)
        {
            throw new StoreException(
                StoreError.Key,
                $"the passphrase has {passphrase.Length} bytes, more than {PassphraseBytesMax}: is it the right file?");
        }
    }

    private static void CheckCost(KeySlotCost cost)
    {
        if (!cost.IsValid)
        {
            throw new StoreException(
                StoreError.Invalid,
                $"key slot cost t={cost.Passes} m={cost.MemoryKiB} KiB p={cost.Lanes} is out of range: t is 1 to " +
                $"{KeySlotCost.PassesMax}, p 1 to {KeySlotCost.LanesMax}, m 8 times p to {KeySlotCost.MemoryKiBMax}, t times m at most " +
                $"{KeySlotCost.PassesTimesMemoryKiBMax}");
        }
    }

    private static string Count(int count) => count == 1 ? "disk's one key slot" : $"disk's {count} key slots";
}
