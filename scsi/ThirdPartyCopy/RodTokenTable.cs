using System.Buffers.Binary;
using System.Security.Cryptography;

namespace CowScsi.Scsi;

/// <summary>
/// The ROD tokens of a <see cref="CopyDomain"/>, those that have ended lately included, so that it can be said why they are of no use any
/// more. A token that is not here is unknown: another process's, one from before a restart, or an invention. Safe for any number of threads.
/// </summary>
/// <remarks>There is no timer: what has expired is found when somebody looks.</remarks>
internal sealed class RodTokenTable(Func<long> milliseconds)
{
    private readonly Lock gate = new();
    private readonly Dictionary<ulong, RodToken> tokens = [];

    /// <summary>Makes a token; null where the initiator, or all of them together, have as many as there may be.</summary>
    public RodToken? Create(ItlNexus itl, ByteRange[] ranges, long inactivityMilliseconds)
    {
        lock (gate)
        {
            var now = Expire();
            var ofCreator = 0;
            var living = 0;
            foreach (var known in tokens.Values)
            {
                if (known.State != RodTokenState.Valid)
                    continue;
                living++;
                if (string.Equals(known.Creator, itl.Nexus.InitiatorDeviceName, StringComparison.Ordinal))
                    ofCreator++;
            }

            if (living >= CopyLimits.TokensMax || ofCreator >= CopyLimits.TokensOfInitiatorMax)
                return null;
            if (tokens.Count >= CopyLimits.TokensMax)
                ForgetOldestEnded();
            Span<byte> random = stackalloc byte[sizeof(ulong)];
            ulong identifier;
            do
            {
                RandomNumberGenerator.Fill(random);
                identifier = BinaryPrimitives.ReadUInt64BigEndian(random);
            }
            while (identifier == 0 || tokens.ContainsKey(identifier));

            var token = new RodToken(itl, ranges, identifier, inactivityMilliseconds) { UsedMilliseconds = now };
            tokens.Add(identifier, token);
            return token;
        }
    }

    /// <summary>Finds the token that an initiator shows, and counts its use until <see cref="EndUse"/>; else says what is wrong with it.</summary>
    public RodToken? TryUse(ReadOnlySpan<byte> image, out SenseCode refusal)
    {
        refusal = default;
        lock (gate)
        {
            Expire();
            if (!tokens.TryGetValue(BinaryPrimitives.ReadUInt64BigEndian(image[RodToken.IdentifierField..]), out var token))
                refusal = SenseCodes.TokenUnknown;
            else if (!token.IsImage(image))
                refusal = SenseCodes.TokenCorrupt;
            else if (token.State != RodTokenState.Valid)
                refusal = SenseOf(token.State);
            else
            {
                token.UseCount++;
                return token;
            }

            return null;
        }
    }

    public void EndUse(RodToken token, bool deletes)
    {
        lock (gate)
        {
            token.UseCount--;
            token.UsedMilliseconds = milliseconds();
        }

        if (deletes)
            End(token, RodTokenState.Deleted);
    }

    /// <summary>The tokens of a logical unit that can be used.</summary>
    public List<RodToken> ListOf(LogicalUnit unit)
    {
        lock (gate)
        {
            Expire();
            List<RodToken> found = [];
            foreach (var token in tokens.Values)
            {
                if (token.Unit == unit && token.State == RodTokenState.Valid)
                    found.Add(token);
            }

            return found;
        }
    }

    public static SenseCode SenseOf(RodTokenState state) => state switch
    {
        RodTokenState.Revoked => SenseCodes.TokenRevoked,
        RodTokenState.Expired => SenseCodes.TokenExpired,
        RodTokenState.Deleted => SenseCodes.TokenDeleted,
        _ => throw new ArgumentOutOfRangeException(nameof(state)),
    };

    private long Expire()
    {
        var now = milliseconds();
        foreach (var token in tokens.Values)
        {
            if (token.State != RodTokenState.Valid || token.UseCount > 0 || now - token.UsedMilliseconds <= token.InactivityMilliseconds)
                continue;
            End(token, RodTokenState.Expired);
        }

        return now;
    }

    private static void End(RodToken token, RodTokenState reason)
    {
        var unit = token.Unit;
        token.End(reason);
        unit?.Tokens.Remove(token);
    }

    private void ForgetOldestEnded()
    {
        RodToken? oldest = null;
        foreach (var token in tokens.Values)
        {
            if (token.State != RodTokenState.Valid && (oldest is null || token.UsedMilliseconds < oldest.UsedMilliseconds))
                oldest = token;
        }

        if (oldest is not null)
            tokens.Remove(oldest.Identifier);
    }
}
