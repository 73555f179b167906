using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>PERSISTENT RESERVE IN (SPC-5, 6.16).</summary>
internal static class PersistentReserveInCommand
{
    private const int AllocationField = 7;
    private const int KeyBytes = 8;
    private const int ReservationBytes = 16;
    private const int CapabilitiesBytes = 8;
    private const int FullStatusHeaderBytes = 24;

    /// <summary>READ KEYS: the key of every registration, so one that several nexuses have stands there as often.</summary>
    public static ValueTask ReadKeys(ItlNexus itl, ScsiCommand command)
    {
        if (!TryBegin(itl, command, out var state, out var writer))
            return default;
        writer.WriteUInt32(state.Generation);
        writer.WriteUInt32((uint)(state.Registrations.Count * KeyBytes));
        foreach (var registration in state.Registrations)
            writer.WriteUInt64(registration.Key);
        writer.Complete();
        return default;
    }

    /// <summary>READ RESERVATION. An all registrants reservation has no single holder: its key reads 0.</summary>
    public static ValueTask ReadReservation(ItlNexus itl, ScsiCommand command)
    {
        if (!TryBegin(itl, command, out var state, out var writer))
            return default;
        var isReserved = state.Type != ReservationType.None;
        writer.WriteUInt32(state.Generation);
        writer.WriteUInt32(isReserved ? (uint)ReservationBytes : 0);
        if (isReserved)
        {
            Span<byte> data = stackalloc byte[ReservationBytes];
            data.Clear();
            BinaryPrimitives.WriteUInt64BigEndian(data, state.Holder is { } holder ? state.Find(holder)?.Key ?? 0 : 0);
            data[13] = (byte)state.Type;
            writer.Write(data);
        }

        writer.Complete();
        return default;
    }

    /// <summary>REPORT CAPABILITIES.</summary>
    public static ValueTask ReportCapabilities(ItlNexus itl, ScsiCommand command)
    {
        const byte CompatibleReservationHandling = 0x10;
        const byte SpecifyInitiatorPorts = 0x08;
        const byte AllTargetPorts = 0x04;
        const byte PersistThroughPowerLoss = 0x01;
        const byte TypeMaskValid = 0x80;

        // ALLOW COMMANDS 011b: TEST UNIT READY through every type, MODE SENSE and its like through the write exclusive ones.
        const byte AllowCommands = 0x30;
        const byte IsPersisting = 0x01;
        const ushort AllTypes = 0xEA01;

        if (!TryBegin(itl, command, out var state, out var writer))
            return default;
        Span<byte> data = stackalloc byte[CapabilitiesBytes];
        data.Clear();
        BinaryPrimitives.WriteUInt16BigEndian(data, CapabilitiesBytes);
        data[2] = CompatibleReservationHandling | SpecifyInitiatorPorts | AllTargetPorts;
        if (itl.Unit.Options.Memory is not null)
            data[2] |= PersistThroughPowerLoss;
        data[3] = TypeMaskValid | AllowCommands;
        if (state.IsKept)
            data[3] |= IsPersisting;
        BinaryPrimitives.WriteUInt16BigEndian(data[4..], AllTypes);
        writer.Write(data);
        writer.Complete();
        return default;
    }

    /// <summary>READ FULL STATUS. Each registration is one of its own, so ALL_TG_PT is zero and the relative port tells them apart.</summary>
    public static ValueTask ReadFullStatus(ItlNexus itl, ScsiCommand command)
    {
        const byte IsHolder = 0x01;
        if (!TryBegin(itl, command, out var state, out var writer))
            return default;
        var length = 0;
        foreach (var registration in state.Registrations)
            length += FullStatusHeaderBytes + TransportId.LengthOf(registration.Nexus.InitiatorPort);
        writer.WriteUInt32(state.Generation);
        writer.WriteUInt32((uint)length);
        Span<byte> data = stackalloc byte[FullStatusHeaderBytes + TransportId.BytesMax];
        foreach (var registration in state.Registrations)
        {
            data.Clear();
            BinaryPrimitives.WriteUInt64BigEndian(data, registration.Key);
            if (state.IsHolder(registration.Nexus))
            {
                data[12] = IsHolder;
                data[13] = (byte)state.Type;
            }

            BinaryPrimitives.WriteUInt16BigEndian(data[18..], registration.RelativePortId);
            var idBytes = TransportId.Write(data[FullStatusHeaderBytes..], registration.Nexus.InitiatorPort);
            BinaryPrimitives.WriteUInt32BigEndian(data[20..], (uint)idBytes);
            writer.Write(data[..(FullStatusHeaderBytes + idBytes)]);
        }

        writer.Complete();
        return default;
    }

    /// <summary>While the logical unit is reserved by RESERVE, whoever has it, there is no persistent reservation to speak of (SPC-2, 5.5.1).</summary>
    private static bool TryBegin(ItlNexus itl, ScsiCommand command, out ReservationState state, out AllocationWriter writer)
    {
        state = itl.Unit.Reservations;
        writer = new AllocationWriter(command, BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[AllocationField..]));
        if (!itl.Unit.IsReserved)
            return true;
        command.Status = ScsiStatus.ReservationConflict;
        return false;
    }
}
