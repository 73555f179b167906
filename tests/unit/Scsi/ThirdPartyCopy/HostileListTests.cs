using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;
using Xunit.Abstractions;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>
/// Parameter lists that lie: valid ones with bytes changed, cut, or announced longer than they are. Whatever comes, a command ends with a
/// known status and sense data that hold together, and leaves no task and no copy behind.
/// </summary>
public sealed class HostileListTests(ITestOutputHelper output)
{
    private const int Cases = 6000;

    private static readonly ScsiStatus[] Statuses = [ScsiStatus.Good, ScsiStatus.CheckCondition];

    [Theory]
    [InlineData(1)]
    [InlineData(20261123)]
    public void MutatedLists_EndWithAKnownAnswer(int seed)
    {
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        var disks = new[] { new RamDisk(512), new RamDisk(512), new RamDisk(64, 4096) };
        foreach (var disk in disks)
            disk.MarkMapped();
        using var initiator = new CopyInitiator(TargetOf(null, [.. disks]));
        byte[][] devices = [initiator.Device(0), initiator.Device(1), initiator.Device(2)];
        var token = initiator.Populate([(0, 64)]);
        var answers = new Dictionary<int, int>();
        for (var i = 0; i < Cases; i++)
        {
            var (serviceAction, list) = Valid(random, devices, token);
            var announced = Mutate(random, ref list);
            var cdb = $"83 {serviceAction:X2} 00 00 00 00 {i:X8} {announced:X8} 00 00";
            if (serviceAction < 2)
                cdb = $"83 {serviceAction:X2} 00 00 00 00 00 00 00 00 {announced:X8} 00 00";
            var command = initiator.Send(cdb, list, lun: random.Next(3));
            var what = $"seed {seed}, case {i}: {cdb} {Convert.ToHexString(list)}";
            Assert.True(Statuses.Contains(command.Status), what);
            Assert.Equal(command.Status == ScsiStatus.CheckCondition, command.SenseLength > 0);
            if (command.SenseLength > 0)
                CheckSense(command.Sense, what);
            answers[Sense(command)] = answers.GetValueOrDefault(Sense(command)) + 1;

            // A token that a copy has overwritten is no longer of use.
            if (Sense(command) == 0x052306)
                token = initiator.Populate([(0, 64)]);
        }

        Assert.True(SpinWait.SpinUntil(() => initiator.Target.Copies.CopyCount == 0, TimeSpan.FromSeconds(60)));
        Assert.All(Enumerable.Range(0, 3), lun => Assert.Equal(0, initiator.Unit(lun).TaskCount));

        // The mutations reach past the first check: these are answers of different depths.
        foreach (var reached in new[] { 0, 0x051A00, 0x052600, 0x052607, 0x052609, 0x052100, 0x0A0000, 0x0A0804, 0x0A0D02, 0x052304, 0x052305 })
            Assert.True(answers.ContainsKey(reached), $"seed {seed}: no case ended with {reached:X6}");
    }

    private static (int ServiceAction, byte[] List) Valid(Random random, byte[][] devices, byte[] token)
    {
        var segments = Enumerable.Range(0, random.Next(4))
            .Select(_ => random.Next(5) == 0
                ? Initiator.Hex("07 00 00 08 00 00 00 00 01 00 00 00")
                : Segment(random.Next(3), random.Next(3), random.Next(16), random.Next(60), random.Next(60))).ToArray();
        var ranges = Enumerable.Range(0, random.Next(1, 4)).Select(i => (i * 20, random.Next(20))).ToArray();
        return random.Next(4) switch
        {
            0 => (0x00, List(devices, segments, (byte)random.Next(256))),
            1 => (0x01, List4(devices, segments, (uint)random.Next(), isImmediate: random.Next(4) == 0)),
            2 => (0x10, RangesOf(ranges)),
            _ => (0x11, WriteList(token, ranges, random.Next(8), deletes: false, isImmediate: random.Next(4) == 0)),
        };
    }

    /// <summary>Answers the parameter list length for the CDB.</summary>
    private static uint Mutate(Random random, ref byte[] list)
    {
        var values = new byte[] { 0, 1, 0x7F, 0x80, 0xFF };
        for (var i = random.Next(4); i > 0; i--)
        {
            // Lengths and types stand in front; what lies behind is mostly addresses.
            var at = random.Next(2) == 0 ? random.Next(Math.Min(list.Length, 64)) : random.Next(list.Length);
            switch (random.Next(4))
            {
                case 0:
                    list[at] = values[random.Next(values.Length)];
                    break;
                case 1:
                    list[at] ^= (byte)(1 << random.Next(8));
                    break;
                case 2:
                    list[at] = (byte)random.Next(256);
                    break;
                default:
                    if (at + 2 <= list.Length)
                        BinaryPrimitives.WriteUInt16BigEndian(list.AsSpan(at), (ushort)(list.Length + random.Next(-40, 40)));
                    break;
            }
        }

        switch (random.Next(8))
        {
            case 0:
                list = list[..random.Next(1, list.Length + 1)];
                return (uint)list.Length;
            case 1:
                return (uint)random.Next(1, list.Length + 100);
            case 2:
                list = [.. list, .. new byte[random.Next(1, 300)]];
                return (uint)list.Length;
            default:
                return (uint)list.Length;
        }
    }

    private static void CheckSense(ReadOnlySpan<byte> sense, string what)
    {
        Assert.True(sense[0] is 0x70 or 0xF0, what);
        Assert.True(sense[7] == sense.Length - 8, what);
        Assert.True((sense[2] & 0xF) is 0x5 or 0xA, what);
        foreach (var pointer in new[] { sense[8], sense[9] })
        {
            if ((sense[2] & 0xF) == 0xA && pointer != 0)
                Assert.True(pointer == 18 && pointer < sense.Length, what);
        }
    }
}
