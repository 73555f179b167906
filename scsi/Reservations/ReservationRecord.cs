using System.Buffers.Binary;
using System.Diagnostics.CodeAnalysis;
using System.Text;
using System.Text.Unicode;
using CowScsi.Engine;

namespace CowScsi.Scsi;

/// <summary>A target port that registrations of a <see cref="ReservationRecord"/> name.</summary>
internal static class ReservationPortField
{
    public const int FixedBytes = 4;
    public const int RelativeIdAt = 0;
    public const int NameBytesAt = 2;

    public static StoredLayout Layout { get; } = new(
        "Reservations: Port",
        FixedBytes,
        StoredField.Of("relative_id", FieldKind.Number, RelativeIdAt, 2),
        StoredField.Of("name_bytes", FieldKind.Number, NameBytesAt, 2),
        new StoredField("name", FieldKind.Text, FixedBytes, 0, "name_bytes"));
}

/// <summary>A registration in a <see cref="ReservationRecord"/>.</summary>
internal static class ReservationRegistrationField
{
    public const int FixedBytes = 12;
    public const int KeyAt = 0;
    public const int PortAt = 8;
    public const int NameBytesAt = 10;

    public static StoredLayout Layout { get; } = new(
        "Reservations: Registration",
        FixedBytes,
        StoredField.Of("key", FieldKind.Hex, KeyAt, 8),
        StoredField.Of("port", FieldKind.Number, PortAt, 2),
        StoredField.Of("name_bytes", FieldKind.Number, NameBytesAt, 2),
        new StoredField("name", FieldKind.Text, FixedBytes, 0, "name_bytes"));
}

/// <summary>
/// What is kept of the reservations of a logical unit under APTPL: the value <c>reservations</c> of its memory. docs/format.md,
/// "Reservations". It is replaced as a whole with each change, before the change takes effect and is answered.
/// </summary>
internal static class ReservationRecord
{
    public const string Name = "reservations";
    public const byte Version = 1;
    public const int HeaderBytes = 8;

    private const int VersionAt = 0;
    private const int TypeAt = 1;
    private const int HolderAt = 2;
    private const int PortCountAt = 4;
    private const int RegistrationCountAt = 6;

    /// <summary>In place of the index of a holder: there is none.</summary>
    private const ushort NoHolder = 0xFFFF;

    /// <summary>Target ports that registrations can name.</summary>
    public const int PortsMax = 64;

    public static StoredLayout Layout { get; } = new(
        "Reservations",
        HeaderBytes,
        StoredField.Of("version", FieldKind.Number, VersionAt, 1),
        StoredField.Of("type", FieldKind.Number, TypeAt, 1),
        StoredField.Of("holder", FieldKind.Number, HolderAt, 2),
        StoredField.Of("port_count", FieldKind.Number, PortCountAt, 2),
        StoredField.Of("registration_count", FieldKind.Number, RegistrationCountAt, 2));

    /// <summary>The record of a state; false where it is longer than a memory takes.</summary>
    public static bool TryWrite(ReservationState state, out ReadOnlyMemory<byte> record)
    {
        var ports = new List<TargetPortName>();
        foreach (var registration in state.Registrations)
        {
            var port = new TargetPortName(registration.Nexus.TargetPort, registration.RelativePortId);
            if (!ports.Contains(port))
                ports.Add(port);
        }

        record = default;
        var bytes = new MemoryStream();
        Span<byte> header = stackalloc byte[HeaderBytes];
        header[VersionAt] = Version;
        header[TypeAt] = (byte)state.Type;
        BinaryPrimitives.WriteUInt16LittleEndian(header[HolderAt..], HolderOf(state));
        BinaryPrimitives.WriteUInt16LittleEndian(header[PortCountAt..], (ushort)ports.Count);
        BinaryPrimitives.WriteUInt16LittleEndian(header[RegistrationCountAt..], (ushort)state.Registrations.Count);
        bytes.Write(header);
        foreach (var port in ports)
            WritePort(bytes, port);
        foreach (var registration in state.Registrations)
        {
            var port = new TargetPortName(registration.Nexus.TargetPort, registration.RelativePortId);
            WriteRegistration(bytes, registration, ports.IndexOf(port));
        }

        if (ports.Count > PortsMax || bytes.Length > ILogicalUnitMemory.ValueBytesMax)
            return false;
        record = bytes.ToArray();
        return true;
    }

    public static bool TryRead(ReadOnlySpan<byte> bytes, [NotNullWhen(true)] out ReservationState? state, out string fault)
    {
        state = null;
        fault = "";
        if (bytes.Length < HeaderBytes || bytes[VersionAt] != Version)
        {
            fault = "R1: it is shorter than 8 bytes, or version is not 1";
            return false;
        }

        var portCount = BinaryPrimitives.ReadUInt16LittleEndian(bytes[PortCountAt..]);
        var registrationCount = BinaryPrimitives.ReadUInt16LittleEndian(bytes[RegistrationCountAt..]);
        var type = (ReservationType)bytes[TypeAt];
        var holder = BinaryPrimitives.ReadUInt16LittleEndian(bytes[HolderAt..]);
        var rest = bytes[HeaderBytes..];
        if (registrationCount is 0 or > ReservationState.RegistrationsMax || portCount is 0 or > PortsMax)
        {
            fault = $"R2: {registrationCount} registrations at {portCount} ports";
            return false;
        }

        if (!TryReadPorts(ref rest, portCount, out var ports) || !TryReadRegistrations(ref rest, registrationCount, ports, out var registrations, out fault) || rest.Length > 0)
        {
            if (fault.Length == 0)
                fault = "R3: ports and registrations do not fill it";
            return false;
        }

        var hasHolder = type != ReservationType.None && !ReservationTypes.IsAllRegistrants(type);
        if ((type != ReservationType.None && !ReservationTypes.IsKnown(type)) || (hasHolder ? holder >= registrationCount : holder != NoHolder))
        {
            fault = $"R5: type {(byte)type} with holder {holder} of {registrationCount}";
            return false;
        }

        state = new ReservationState
        {
            Registrations = registrations, Type = type, Holder = hasHolder ? registrations[holder].Nexus : null, IsKept = true,
        };
        return true;
    }

    private static ushort HolderOf(ReservationState state)
    {
        for (var i = 0; i < state.Registrations.Count; i++)
        {
            if (state.Registrations[i].Nexus == state.Holder)
                return (ushort)i;
        }

        return NoHolder;
    }

    private static void WritePort(MemoryStream bytes, TargetPortName port)
    {
        var name = Encoding.UTF8.GetBytes(port.Name);
        Span<byte> head = stackalloc byte[ReservationPortField.FixedBytes];
        BinaryPrimitives.WriteUInt16LittleEndian(head[ReservationPortField.RelativeIdAt..], port.RelativePortId);
        BinaryPrimitives.WriteUInt16LittleEndian(head[ReservationPortField.NameBytesAt..], (ushort)name.Length);
        bytes.Write(head);
        bytes.Write(name);
    }

    private static void WriteRegistration(MemoryStream bytes, Registration registration, int port)
    {
        var name = Encoding.UTF8.GetBytes(registration.Nexus.InitiatorPort);
        Span<byte> head = stackalloc byte[ReservationRegistrationField.FixedBytes];
        BinaryPrimitives.WriteUInt64LittleEndian(head[ReservationRegistrationField.KeyAt..], registration.Key);
        BinaryPrimitives.WriteUInt16LittleEndian(head[ReservationRegistrationField.PortAt..], (ushort)port);
        BinaryPrimitives.WriteUInt16LittleEndian(head[ReservationRegistrationField.NameBytesAt..], (ushort)name.Length);
        bytes.Write(head);
        bytes.Write(name);
    }

    private static bool TryReadPorts(ref ReadOnlySpan<byte> rest, int count, out TargetPortName[] ports)
    {
        ports = new TargetPortName[count];
        for (var i = 0; i < count; i++)
        {
            if (rest.Length < ReservationPortField.FixedBytes)
                return false;
            var id = BinaryPrimitives.ReadUInt16LittleEndian(rest[ReservationPortField.RelativeIdAt..]);
            var nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(rest[ReservationPortField.NameBytesAt..]);
            if (!TryTakeName(ref rest, ReservationPortField.FixedBytes, nameBytes, out var name))
                return false;
            ports[i] = new TargetPortName(name, id);
        }

        return true;
    }

    private static bool TryReadRegistrations(
        ref ReadOnlySpan<byte> rest, int count, TargetPortName[] ports, out Registration[] registrations, out string fault)
    {
        registrations = new Registration[count];
        fault = "";
        var known = new HashSet<NexusName>();
        for (var i = 0; i < count; i++)
        {
            if (rest.Length < ReservationRegistrationField.FixedBytes)
                return false;
            var key = BinaryPrimitives.ReadUInt64LittleEndian(rest[ReservationRegistrationField.KeyAt..]);
            var port = BinaryPrimitives.ReadUInt16LittleEndian(rest[ReservationRegistrationField.PortAt..]);
            var nameBytes = BinaryPrimitives.ReadUInt16LittleEndian(rest[ReservationRegistrationField.NameBytesAt..]);
            if (!TryTakeName(ref rest, ReservationRegistrationField.FixedBytes, nameBytes, out var name))
                return false;
            if (key == 0 || port >= ports.Length || !known.Add(new NexusName(name, ports[port].Name)))
            {
                fault = $"R4: registration {i} has key 0, port {port} of {ports.Length}, or a nexus that another one has";
                return false;
            }

            registrations[i] = new Registration(new NexusName(name, ports[port].Name), ports[port].RelativePortId, key);
        }

        return true;
    }

    /// <summary>Names are in lower case, since they are compared that way.</summary>
    private static bool TryTakeName(ref ReadOnlySpan<byte> rest, int at, int length, out string name)
    {
        name = "";
        if (length == 0 || rest.Length < at + length || !Utf8.IsValid(rest.Slice(at, length)))
            return false;
        name = Encoding.UTF8.GetString(rest.Slice(at, length));
        rest = rest[(at + length)..];
        return name == name.ToLowerInvariant();
    }
}
