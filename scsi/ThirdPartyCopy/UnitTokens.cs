using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// The ROD tokens that represent something of one logical unit. Before a command changes what one of them represents, that one is revoked.
/// Safe for any number of threads.
/// </summary>
/// <remarks>
/// A token is made by an exclusive command, so no write is under way then; every later one passes here before it touches the device. Who
/// reads by a token looks at its state after each piece: while it is valid, nothing of what was read had begun to change.
/// </remarks>
internal sealed class UnitTokens
{
    private const byte Write6 = 0x0A;
    private const byte Write10 = 0x2A;
    private const byte WriteAndVerify10 = 0x2E;
    private const byte WriteSame10 = 0x41;
    private const byte Unmap = 0x42;
    private const byte CompareAndWrite = 0x89;
    private const byte Write16 = 0x8A;
    private const byte OrWrite16 = 0x8B;
    private const byte WriteAndVerify16 = 0x8E;
    private const byte WriteSame16 = 0x93;
    private const byte WriteAtomic16 = 0x9C;
    private const byte Write12 = 0xAA;
    private const byte WriteAndVerify12 = 0xAE;

    private readonly Lock gate = new();

    /// <summary>Replaced as a whole, so that a write looks at it without the lock; mostly empty.</summary>
    private volatile RodToken[] tokens = [];

    public void Add(RodToken token)
    {
        lock (gate)
            tokens = [.. tokens, token];
    }

    public void Remove(RodToken token)
    {
        lock (gate)
            tokens = Array.FindAll(tokens, known => known != token);
    }

    /// <summary>A command that changes the medium is about to begin. What it writes is known from its CDB, or it may be anything.</summary>
    public void OnWrite(ScsiCommand command, BlockGeometry geometry)
    {
        if (tokens.Length == 0)
            return;
        if (command.Transfer is { } transfer)
        {
            Revoke(transfer.Written.OffsetBytes, transfer.Written.LengthBytes);
            return;
        }

        var cdb = command.Cdb;
        switch (cdb[0])
        {
            case Write6 or Write10 or Write12 or Write16 or WriteAndVerify10 or WriteAndVerify12 or WriteAndVerify16 or OrWrite16
                or CompareAndWrite:
                Revoke(BlockRange.Decode(cdb, geometry.LogicalBlockBytes), geometry);
                break;
            case WriteSame10 or WriteSame16:
                var same = BlockRange.Decode(cdb, geometry.LogicalBlockBytes);
                Revoke(same.BlockCount == 0 ? same with { BlockCount = uint.MaxValue } : same, geometry, isToEnd: same.BlockCount == 0);
                break;
            case WriteAtomic16:
                var atomic = BlockRange.Decode(cdb, geometry.LogicalBlockBytes);
                Revoke(atomic with { BlockCount = BinaryPrimitives.ReadUInt16BigEndian(cdb[12..]) }, geometry);
                break;
            case Unmap or CopyServiceActions.CopyOut:
                break; // Its ranges stand in its parameter list: it revokes for each of them.
            default:
                RevokeAll();
                break;
        }
    }

    /// <summary>A range is about to change.</summary>
    public void Revoke(long offsetBytes, long lengthBytes)
    {
        foreach (var token in tokens)
        {
            if (!token.Touches(offsetBytes, lengthBytes))
                continue;
            token.End(RodTokenState.Revoked);
            Remove(token);
        }
    }

    /// <summary>Everything is about to change, or to go.</summary>
    public void RevokeAll()
    {
        lock (gate)
        {
            foreach (var token in tokens)
                token.End(RodTokenState.Revoked);
            tokens = [];
        }
    }

    /// <summary>A range that does not lie on the medium is refused by its command and changes nothing.</summary>
    private void Revoke(BlockRange range, BlockGeometry geometry, bool isToEnd = false)
    {
        if (range.Lba >= (ulong)geometry.BlockCount)
            return;
        Revoke(range.OffsetBytes, isToEnd ? geometry.SizeBytes - range.OffsetBytes : range.LengthBytes);
    }
}
