using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>The layouts of kept reservations, field by field, and that they come back as they were written.</summary>
public sealed class ReservationLayoutProofTests
{
    private static readonly NexusName Nexus = new("iii", "ttt");

    private static readonly ReservationState First = new()
    {
        Registrations = [new Registration(Nexus, 0x0101, 0x0101010101010101)], Type = ReservationType.WriteExclusive, Holder = Nexus, IsKept = true,
    };

    [Fact]
    public void HeaderFields() =>
        new FieldProof<ReservationState>(ReservationRecord.Layout, static state => Bytes(state)[..ReservationRecord.HeaderBytes], "", First)
            .Fixed("version", [1])
            .Field("type", With(ReservationType.ExclusiveAccess))
            .Field("holder", new ReservationState { Registrations = First.Registrations, Type = First.Type })
            .Fixed("port_count", [1, 0])
            .Fixed("registration_count", [1, 0])
            .Done();

    [Fact]
    public void PortAndRegistrationFields()
    {
        new FieldProof<Registration>(ReservationPortField.Layout, static value => PortBytes(value), "", First.Registrations[0])
            .Field("relative_id", new Registration(Nexus, 0xFEFE, 0x0101010101010101))
            .Fixed("name_bytes", [3, 0])
            .Field("name", new Registration(new NexusName("iii", "uvw"), 0x0101, 0x0101010101010101))
            .Done();
        new FieldProof<Registration>(ReservationRegistrationField.Layout, static value => RegistrationBytes(value), "", First.Registrations[0])
            .Field("key", new Registration(Nexus, 0x0101, 0xFEFEFEFEFEFEFEFE))
            .Fixed("port", [0, 0])
            .Fixed("name_bytes", [3, 0])
            .Field("name", new Registration(new NexusName("jkl", "ttt"), 0x0101, 0x0101010101010101))
            .Done();
    }

    [Fact]
    public void MostRegistrationsThereCanBe_ComeBack_AndFitAMemory()
    {
        var full = new ReservationState
        {
            Registrations =
            [
                .. Enumerable.Range(0, ReservationState.RegistrationsMax).Select(static i => new Registration(
                    new NexusName($"iqn.1994-05.com.example:cluster-node-{i / 4:d4}-0123456789ab,i,0x00023d{i:x6}", $"iqn.2026-11.io.cowscsi:12345678,t,0x000{i % 4}"),
                    (ushort)(i % 4), (ulong)i + 1)),
            ],
            Type = ReservationType.WriteExclusiveAllRegistrants,
        };
        Assert.True(ReservationRecord.TryWrite(full, out var record));
        Assert.InRange(record.Length, 1, ILogicalUnitMemory.ValueBytesMax);
        Assert.True(ReservationRecord.TryRead(record.Span, out var read, out var fault), fault);
        Assert.Equal(full.Registrations, read.Registrations);
        Assert.Equal((full.Type, full.Holder), (read.Type, read.Holder));
    }

    [Fact]
    public void StateThatIsLongerThanAMemoryTakes_IsNotWritten()
    {
        var name = new string('n', 240);
        var wide = new ReservationState { Registrations = [.. Enumerable.Range(0, 200).Select(i => new Registration(new NexusName($"{name}{i}", "t"), 1, 1))] };
        Assert.False(ReservationRecord.TryWrite(wide, out _));
    }

    private static ReservationState With(ReservationType type) => new() { Registrations = First.Registrations, Type = type, Holder = Nexus };

    private static byte[] PortBytes(Registration value) => Bytes(value)[ReservationRecord.HeaderBytes..];

    private static byte[] RegistrationBytes(Registration value) =>
        Bytes(value)[(ReservationRecord.HeaderBytes + ReservationPortField.FixedBytes + value.Nexus.TargetPort.Length)..];

    private static byte[] Bytes(Registration value) => Bytes(new ReservationState { Registrations = [value] });

    private static byte[] Bytes(ReservationState state)
    {
        Assert.True(ReservationRecord.TryWrite(state, out var record));
        return record.ToArray();
    }
}
