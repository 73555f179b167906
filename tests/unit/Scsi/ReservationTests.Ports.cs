using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <content>Several ports: SPEC_I_PT, ALL_TG_PT, and what a registration is recognized by.</content>
public sealed partial class ReservationTests
{
    [Fact]
    public void SpecifiedInitiatorPorts_AreRegisteredTogether_OrNotAtAll()
    {
        byte[] ports = [.. Id("iqn.1993-08.org.debian:b,i,0x2"), .. Id("iqn.1993-08.org.debian:absent,i,0xabc")];
        AssertRegister(ScsiStatus.Good, ports);
        a.AssertGood(ReadKeys);
        Assert.Equal(Initiator.Hex("00000001 00000018 0000000000000007 0000000000000007 0000000000000007"), a.Data.ToArray());
        b.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(7, 0));

        // A nexus that is registered already, in front of one that is not.
        AssertRegister(ScsiStatus.CheckCondition, [.. Id("iqn.1993-08.org.debian:d,i,0x4"), .. Id("iqn.1993-08.org.debian:b,i,0x2")], from: c);
        a.AssertGood(ReadKeys);
        Assert.Equal(32, a.Data.Length);
    }

    [Theory]
    [InlineData("")]
    [InlineData("45 00 0014")]
    [InlineData("44 00 0014 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("55 00 0014 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("85 00 0014 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("45 01 0014 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("45 00 0010 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("45 00 0016 69716E2E613A78782C692C3078310000 000000000000")]
    [InlineData("45 00 FFFC 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("45 00 0014 69716E2E613A78782C692C3078310000 00000001")]
    [InlineData("45 00 0014 69716E2E613A78782C692C3078310078 78787878")]
    [InlineData("45 00 0014 69716E2E613A78782C692C3078670000 00000000")]
    [InlineData("45 00 0014 69716E2E613A787800000000000000 0000000000")]
    [InlineData("45 00 0014 6A716E2E613A78782C692C3078310000 00000000")]
    [InlineData("45 00 0014 69716E2E61FFFF782C692C3078310000 00000000")]
    [InlineData("05 00 0014 69716E2E613A78782C692C3078310000 00000000")]
    [InlineData("05 00 0014 69716E2E613A787800000000000000 0000000000")]
    public void SpecifiedInitiatorPort_OfAWrongForm_IsRefused(string id)
    {
        byte[] ids = id.Length == 0 ? [1, 2, 3] : Initiator.Hex(id);
        AssertRegister(ScsiStatus.CheckCondition, ids);
        Assert.Equal(0x052600, a.Sense);
        a.AssertGood(ReadKeys);
        Assert.Equal(new byte[8], a.Data.ToArray());
    }

    [Fact]
    public void SpecifiedInitiatorPort_TwiceInAList_IsRefused()
    {
        AssertRegister(ScsiStatus.CheckCondition, [.. Id("iqn.1993-08.org.debian:b,i,0x2"), .. Id("iqn.1993-08.org.debian:B,i,0x02")]);
        AssertRegister(ScsiStatus.CheckCondition, Id("iqn.1993-08.org.debian:a,i,0x1"));
        Assert.Equal(0x052600, a.Sense);
    }

    [Fact]
    public void TransportIdLength_ThatIsNotTheLists_IsRefused()
    {
        byte[] list = [.. List(0, 7, flags: 8), 0, 0, 0, 40, .. Id("iqn.1993-08.org.debian:b,i,0x2")];
        a.AssertSense(0x051A00, $"5F 00 00 00 00 00 00 00 {list.Length:X2} 00", list);
        a.AssertSense(0x051A00, Register, List(0, 7, flags: 8));
        a.AssertSense(0x052600, "5F 06 00 00 00 00 00 00 18 00", List(0, 7, flags: 8));
    }

    [Fact]
    public void AllTargetPorts_RegistersAtEachOfThem_AndRegistrationsAreOfOnePortElse()
    {
        var second = new ScsiTarget("iqn.2026-01.org.cowscsi:test,t,0x0002", 2);
        Assert.True(second.TryAddLun(0, a.Unit));
        using var other = new Initiator(a, second, "iqn.1993-08.org.debian:a,i,0x1");
        a.AssertGood(Register, List(0, 1));
        other.AssertGood(Register, List(0, 2));
        a.AssertGood(Register, List(1, 0));
        other.AssertGood(Register, List(2, 0));
        b.AssertGood(Register, List(0, 5, flags: 4));
        a.AssertGood(ReadFullStatus);
        Assert.Equal(2 * 0x48, BinaryPrimitives.ReadInt32BigEndian(a.Data[4..]));
        Assert.Equal(1, BinaryPrimitives.ReadInt16BigEndian(a.Data[26..]));
        Assert.Equal(2, BinaryPrimitives.ReadInt16BigEndian(a.Data[(26 + 0x48)..]));
    }

    [Fact]
    public void Registrations_SurviveTheNexusAndResets_AndAreFoundByName()
    {
        b.AssertGood(Register, List(0, 2));
        b.AssertGood("5F 01 01 00 00 00 00 00 18 00", List(2, 0));
        var leaving = b.Target.RemoveNexusAsync(b.Nexus);
        Assert.True(leaving.IsCompletedSuccessfully);
        Assert.True(a.Target.ManageAsync(a.Nexus, TaskManagementFunction.LogicalUnitReset, 0, 0).IsCompletedSuccessfully);
        a.AssertSense(0x062903, TestUnitReady);
        Assert.Equal(ScsiStatus.ReservationConflict, a.Send(WriteOne, new byte[512]));
        using var back = new Initiator(a, "IQN.1993-08.org.debian:b,i,0x000000000002");
        back.AssertGood(WriteOne, new byte[512]);
        using var stranger = new Initiator(a, "iqn.1993-08.org.debian:b,i,0x000000000009");
        Assert.Equal(ScsiStatus.ReservationConflict, stranger.Send(WriteOne, new byte[512]));
    }

    [Fact]
    public void RegistrationsBeyondTheBound_AreRefused()
    {
        var ids = new List<byte>();
        for (var i = 0; i < ReservationState.RegistrationsMax; i++)
            ids.AddRange(Id($"iqn.a:{i},i,0x1"));
        AssertRegister(ScsiStatus.CheckCondition, [.. ids]);
        Assert.Equal(0x055504, a.Sense);
        AssertRegister(ScsiStatus.Good, [.. ids.Take((ReservationState.RegistrationsMax - 1) * 24)]);
        b.AssertSense(0x055504, Register, List(0, 1));
    }

    private void AssertRegister(ScsiStatus expected, byte[] ids, Initiator? from = null)
    {
        from ??= a;
        byte[] list = [.. List(0, 7, flags: 8), 0, 0, 0, 0, .. ids];
        BinaryPrimitives.WriteInt32BigEndian(list.AsSpan(24), ids.Length);
        var cdb = Initiator.Hex(Register);
        BinaryPrimitives.WriteInt32BigEndian(cdb.AsSpan(5), list.Length);
        Assert.Equal(expected, from.Send(cdb, list));
    }
}
