using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Scsi;

/// <summary>
/// The parameter lists of PERSISTENT RESERVE OUT (SPC-5, 6.17.3 and 6.17.4), read from a copy: the initiator's memory may change meanwhile.
/// Every failure ends the command with its sense data.
/// </summary>
/// <remarks>
/// All but REGISTER AND MOVE: key (8) | service action key (8) | obsolete (4) | SPEC_I_PT, ALL_TG_PT, APTPL (1) | reserved (1) | obsolete
/// (2) | where SPEC_I_PT is one: length (4) | TransportIDs. REGISTER AND MOVE: key (8) | service action key (8) | reserved (1) | UNREG,
/// APTPL (1) | relative target port (2) | length (4) | TransportID.
/// </remarks>
internal static class ReservationParameters
{
    /// <summary>Bytes of a list without TransportIDs.</summary>
    public const int FixedBytes = 24;

    /// <summary>Longest list that is taken: more TransportIDs than there can be registrations.</summary>
    public const int ListBytesMax = FixedBytes + ListLengthBytes + (ReservationState.RegistrationsMax * TransportId.BytesMax);

    public const int ServiceKeyField = 8;

    /// <summary>Where the first TransportID lies, which a refusal of one points at unless its own place is known.</summary>
    public const int FirstTransportIdField = FixedBytes + ListLengthBytes;

    private const int ListLengthBytes = 4;
    private const int TypeField = 2;
    private const int FlagsField = 20;
    private const byte SpecifyInitiatorPorts = 0x08;
    private const int SpecifyInitiatorPortsBit = 3;
    private const byte AllTargetPorts = 0x04;
    private const byte PersistThroughPowerLoss = 0x01;
    private const int MoveFlagsField = 17;
    private const byte Unregister = 0x02;
    private const int MovePortField = 18;
    private const int MoveLengthField = 20;

    /// <summary>Reads the list of every service action but REGISTER AND MOVE.</summary>
    /// <param name="isRegister">REGISTER: the only one that may name other initiator ports.</param>
    public static bool TryRead(
        ItlNexus itl, ScsiCommand command, ReadOnlySpan<byte> list, bool isRegister, [NotNullWhen(true)] out ReservationRequest? request)
    {
        request = null;
        var flags = list[FlagsField];
        if (!isRegister && (flags & SpecifyInitiatorPorts) != 0)
        {
            command.FailParameter(FlagsField, SpecifyInitiatorPortsBit);
            return false;
        }

        List<string> initiatorPorts = [];
        if ((flags & SpecifyInitiatorPorts) != 0)
        {
            if (!TryReadInitiatorPorts(itl.Unit, command, list, initiatorPorts))
                return false;
        }
        else if (list.Length != FixedBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        if (!TryCheckKept(itl.Unit, command, FlagsField, flags))
            return false;
        var own = new TargetPortName(itl.Nexus.Name.TargetPort, itl.Nexus.Target.RelativePortId);
        request = Begin(itl, command, list) with
        {
            IsKept = (flags & PersistThroughPowerLoss) != 0,
            Ports = (flags & AllTargetPorts) != 0 ? itl.Unit.PortNames() : [own],
            InitiatorPorts = initiatorPorts,
        };
        return true;
    }

    /// <summary>Reads the list of REGISTER AND MOVE.</summary>
    public static bool TryReadMove(
        ItlNexus itl, ScsiCommand command, ReadOnlySpan<byte> list, [NotNullWhen(true)] out ReservationRequest? request)
    {
        request = null;
        var flags = list[MoveFlagsField];
        if (BinaryPrimitives.ReadUInt32BigEndian(list[MoveLengthField..]) != list.Length - FixedBytes)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        if (!TryCheckKept(itl.Unit, command, MoveFlagsField, flags))
            return false;
        var portId = BinaryPrimitives.ReadUInt16BigEndian(list[MovePortField..]);
        if (FindPort(itl.Unit, portId) is not { } port)
        {
            command.FailParameter(MovePortField);
            return false;
        }

        List<string> initiatorPorts = [];
        if (!TransportId.TryRead(list[FixedBytes..], out var length, out var name, out var isPort) || length != list.Length - FixedBytes ||
            !TryResolve(itl.Unit, name, isPort, initiatorPorts) || initiatorPorts.Count != 1)
        {
            command.FailParameter(FixedBytes);
            return false;
        }

        request = Begin(itl, command, list) with
        {
            IsKept = (flags & PersistThroughPowerLoss) != 0,
            Unregisters = (flags & Unregister) != 0,
            Destination = new NexusName(initiatorPorts[0], port.Name),
            DestinationPortId = portId,
        };
        return true;
    }

    private static ReservationRequest Begin(ItlNexus itl, ScsiCommand command, ReadOnlySpan<byte> list) => new()
    {
        Nexus = itl.Nexus.Name,
        Key = BinaryPrimitives.ReadUInt64BigEndian(list),
        ServiceKey = BinaryPrimitives.ReadUInt64BigEndian(list[ServiceKeyField..]),
        Scope = (byte)(command.Cdb[TypeField] >> 4),
        Type = (ReservationType)(command.Cdb[TypeField] & 0x0F),
    };

    /// <summary>APTPL needs a memory to keep the reservations in.</summary>
    private static bool TryCheckKept(LogicalUnit unit, ScsiCommand command, int field, byte flags)
    {
        if ((flags & PersistThroughPowerLoss) == 0 || unit.Options.Memory is not null)
            return true;
        command.FailParameter(field, 0);
        return false;
    }

    private static bool TryReadInitiatorPorts(LogicalUnit unit, ScsiCommand command, ReadOnlySpan<byte> list, List<string> names)
    {
        if (list.Length < FirstTransportIdField ||
            BinaryPrimitives.ReadUInt32BigEndian(list[FixedBytes..]) != list.Length - FirstTransportIdField)
        {
            command.Fail(SenseCodes.ParameterListLengthError);
            return false;
        }

        for (var at = FirstTransportIdField; at < list.Length;)
        {
            var count = names.Count;
            if (!TransportId.TryRead(list[at..], out var length, out var name, out var isPort) ||
                !TryResolve(unit, name, isPort, names) || HasDuplicate(names, count))
            {
                command.FailParameter(at);
                return false;
            }

            at += length;
        }

        return true;
    }

    /// <summary>
    /// A port's name is taken as it is, whether it is logged in or not. A device's name stands for its ports that are, and there must be
    /// one: what others it might ever have nobody can tell.
    /// </summary>
    private static bool TryResolve(LogicalUnit unit, string name, bool isPort, List<string> initiatorPorts)
    {
        if (isPort)
        {
            initiatorPorts.Add(name);
            return true;
        }

        return unit.AddInitiatorPorts(TransportId.PortPrefixOf(name), initiatorPorts);
    }

    private static bool HasDuplicate(List<string> names, int from)
    {
        for (var i = from; i < names.Count; i++)
        {
            if (names.IndexOf(names[i]) != i)
                return true;
        }

        return false;
    }

    private static TargetPortName? FindPort(LogicalUnit unit, ushort relativePortId)
    {
        foreach (var port in unit.PortNames())
        {
            if (port.RelativePortId == relativePortId)
                return port;
        }

        return null;
    }
}
