using CowScsi.Scsi;

namespace CowScsi.Tests.Fuzz;

/// <summary>What a logical unit keeps of its reservations.</summary>
internal sealed class ReservationsTarget : FuzzTarget
{
    public override string Name => "reservations";

    public override IEnumerable<byte[]> Seeds()
    {
        var nexus = new NexusName("iqn.1994-05.com.example:a,i,0x00023d000001", "iqn.2026-11.io.cowscsi:1,t,0x0001");
        var other = nexus with { InitiatorPort = "iqn.1994-05.com.example:b,i,0x00023d000002" };
        foreach (var type in new[] { ReservationType.None, ReservationType.WriteExclusiveRegistrantsOnly, ReservationType.ExclusiveAccessAllRegistrants })
        {
            var state = new ReservationState
            {
                Registrations = [new Registration(other, 1, 1), new Registration(nexus, 1, ulong.MaxValue)],
                Type = type,
                Holder = type == ReservationType.WriteExclusiveRegistrantsOnly ? nexus : null,
            };
            Require(ReservationRecord.TryWrite(state, out var record), "a seed is too long");
            yield return record.ToArray();
        }
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input)
    {
        foreach (var field in FieldsOf(ReservationRecord.Layout, 0))
            yield return field;
        foreach (var field in FieldsOf(ReservationPortField.Layout, ReservationRecord.HeaderBytes))
            yield return field;
    }

    public override string Execute(byte[] input)
    {
        if (!ReservationRecord.TryRead(input, out var state, out var fault))
            return Refused(fault);
        Require(state.Registrations.Count is >= 1 and <= ReservationState.RegistrationsMax, "R2 does not hold");
        Require(state.Registrations.All(static one => one.Key != 0) && state.Registrations.Select(static one => one.Nexus).Distinct().Count() == state.Registrations.Count, "R4 does not hold");
        Require(state.Holder is null || state.Find(state.Holder) is not null, "R5 does not hold");
        Require(ReservationRecord.TryWrite(state, out var record), "what was read is too long to be written");
        Require(ReservationRecord.TryRead(record.Span, out var again, out _) && again.Registrations.SequenceEqual(state.Registrations) && again.Type == state.Type && again.Holder == state.Holder, "it is not read as it is written");
        return "accepted " + state.Type;
    }
}

/// <summary>TransportIDs, which an initiator sends with PERSISTENT RESERVE OUT.</summary>
internal sealed class TransportIdTarget : FuzzTarget
{
    public override string Name => "transport id";

    public override bool IsBigEndian => true;

    public override IEnumerable<byte[]> Seeds()
    {
        foreach (var name in new[] { "iqn.1994-05.com.example:a,i,0x00023d000001", "iqn.1994-05.com.example:a", "naa.5" })
        {
            var bytes = new byte[TransportId.BytesMax];
            yield return bytes[..TransportId.Write(bytes, name)];
        }
    }

    public override IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => [(0, 1), (1, 1), (2, 2)];

    public override string Execute(byte[] input)
    {
        if (!TransportId.TryRead(input, out var length, out var name, out var isPort))
            return "refused";
        Require(length is >= 24 and <= TransportId.BytesMax && length <= input.Length && length % 4 == 0, "a length that none can have");
        Require(name == name.ToLowerInvariant() && name.Contains(",i,0x", StringComparison.Ordinal) == isPort, "a name that is none of its format");
        var bytes = new byte[TransportId.BytesMax];
        var written = TransportId.Write(bytes, name);
        Require(TransportId.TryRead(bytes.AsSpan(0, written), out _, out var again, out var same) && again == name && same == isPort, "it is not read as it is written");
        return isPort ? "accepted port" : "accepted device";
    }
}
