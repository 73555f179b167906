using System.Buffers.Binary;
using CowScsi.Scsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>
/// Random sequences of reservation commands from several initiators, over nexus losses and restarts of the logical unit, against
/// <see cref="ReservationModel"/>. COWSCSI_SEED chooses another seed.
/// </summary>
public sealed class ReservationModelTests(ITestOutputHelper output)
{
    private const int Ports = 4;
    private const int Steps = 3000;

    [Theory]
    [InlineData(1)]
    [InlineData(2)]
    [InlineData(3)]
    public void RandomCommands_DoWhatTheModelSays(int seed)
    {
        if (Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 } chosen)
            seed = int.Parse(chosen, System.Globalization.CultureInfo.InvariantCulture) + seed;
        output.WriteLine($"seed {seed}");
        var random = new Random(seed);
        using var run = new Run();
        var outcomes = new int[3];
        for (var step = 0; step < Steps; step++)
        {
            var (what, outcome) = run.Step(random);
            try
            {
                run.Check(random);
            }
            catch (Exception fault)
            {
                throw new InvalidOperationException($"seed {seed}, step {step}: {what}", fault);
            }

            outcomes[outcome]++;
        }

        output.WriteLine($"good {outcomes[0]}, conflict {outcomes[1]}, refused {outcomes[2]}");
        Assert.All(outcomes, count => Assert.True(count > Steps / 50));
    }

    private sealed class Run : IDisposable
    {
        private readonly RamMemory memory = new();
        private readonly ReservationModel model = new();
        private readonly Initiator[] initiators = new Initiator[Ports];
        private uint generationBefore;

        public Run() => Start();

        public (string What, int Outcome) Step(Random random)
        {
            var nexus = random.Next(Ports);
            switch (random.Next(60))
            {
                case 0:
                    Restart();
                    return ("restart", ReservationModel.Good);
                case 1:
                    Assert.True(initiators[nexus].Target.RemoveNexusAsync(initiators[nexus].Nexus).IsCompletedSuccessfully);
                    initiators[nexus].Dispose();
                    initiators[nexus] = new Initiator(initiators[(nexus + 1) % Ports], NameOf(nexus));
                    model.TakeAttentions(nexus);
                    return ("nexus loss", ReservationModel.Good);
            }

            // Mostly the right key; keys are few, so that they meet.
            var key = random.Next(6) != 0 ? model.KeyOf(nexus) : (ulong)random.Next(4);
            var serviceKey = (ulong)random.Next(5);
            var type = random.Next(4) != 0 && model.Type != 0 ? model.Type : random.Next(10);
            var action = random.Next(8);
            var expected = action switch
            {
                0 => model.Register(nexus, key, serviceKey, ignores: false),
                1 => model.Reserve(nexus, key, type),
                2 => model.Release(nexus, key, type),
                3 when random.Next(4) == 0 => model.Clear(nexus, key),
                4 or 5 => model.Preempt(nexus, key, serviceKey, type),
                6 => model.Register(nexus, key, serviceKey, ignores: true),
                7 => model.Move(nexus, key, serviceKey, (int)(serviceKey % Ports), unregisters: serviceKey > 2),
                _ => -1,
            };
            var what = $"nexus {nexus}, action {action}, key {key}, service key {serviceKey}, type {type}";
            if (expected < 0)
                return (what, ReservationModel.Good);
            var status = action == 7
                ? Move(nexus, key, serviceKey)
                : initiators[nexus].Send(Initiator.Hex($"5F {action:X2} {type:X2} 00 00 00 00 00 18 00"), ReservationTests.List(key, serviceKey, (byte)(action is 0 or 6 ? 1 : 0)));
            var found = status switch
            {
                ScsiStatus.Good => ReservationModel.Good,
                ScsiStatus.ReservationConflict => ReservationModel.Conflict,
                ScsiStatus.CheckCondition when initiators[nexus].Sense >> 16 == 5 => ReservationModel.Refused,
                _ => -1,
            };
            Assert.True(expected == found, $"{what}: expected {expected}, was {status} {initiators[nexus].Sense:X6}");
            return (what, found);
        }

        /// <summary>Everything that can be asked: attentions first, since they would be in the way.</summary>
        public void Check(Random random)
        {
            for (var nexus = 0; nexus < Ports; nexus++)
            {
                var told = new HashSet<int>();
                while (initiators[nexus].Send("00 00 00 00 00 00") != ScsiStatus.Good)
                {
                    Assert.Equal(0x062A, initiators[nexus].Sense >> 8);
                    Assert.True(told.Add(initiators[nexus].Sense & 0xFF), "told twice");
                }

                Assert.Equal(model.TakeAttentions(nexus).Order(), told.Order());
                var mayWrite = initiators[nexus].Send("2A 00 00 00 00 00 00 00 01 00", new byte[512]) == ScsiStatus.Good;
                var mayRead = initiators[nexus].Send("28 00 00 00 00 00 00 00 01 00") == ScsiStatus.Good;
                Assert.Equal((model.May(nexus, write: true), model.May(nexus, write: false)), (mayWrite, mayRead));
            }

            var reader = initiators[random.Next(Ports)];
            reader.AssertGood("5E 00 00 00 00 00 00 10 00 00");
            Assert.Equal(model.Generation - generationBefore, BinaryPrimitives.ReadUInt32BigEndian(reader.Data));
            var keys = new List<ulong>();
            for (var at = 8; at < reader.Data.Length; at += 8)
                keys.Add(BinaryPrimitives.ReadUInt64BigEndian(reader.Data[at..]));
            Assert.Equal(model.Keys.Order(), keys.Order());
            reader.AssertGood("5E 01 00 00 00 00 00 10 00 00");
            Assert.Equal(model.Type == 0 ? 8 : 24, reader.Data.Length);
            if (model.Type != 0)
                Assert.Equal((model.HolderKey, model.Type), (BinaryPrimitives.ReadUInt64BigEndian(reader.Data[8..]), reader.Data[21]));
        }

        public void Dispose()
        {
            foreach (var initiator in initiators)
                initiator.Dispose();
        }

        private static string NameOf(int nexus) => $"iqn.1993-08.org.debian:{nexus},i,0x{nexus:x12}";

        /// <summary>All registrations are made with APTPL, so a new logical unit over the same memory goes on where the old one was.</summary>
        private void Restart()
        {
            Dispose();
            Start();
            generationBefore = model.Generation;
        }

        private void Start()
        {
            for (var nexus = 0; nexus < Ports; nexus++)
                model.TakeAttentions(nexus);
            using var first = new Initiator(options: new LogicalUnitOptions { Memory = memory });
            for (var nexus = 0; nexus < Ports; nexus++)
                initiators[nexus] = new Initiator(first, NameOf(nexus));
        }

        private ScsiStatus Move(int nexus, ulong key, ulong serviceKey)
        {
            var id = new byte[TransportId.BytesMax];
            id = id[..TransportId.Write(id, NameOf((int)(serviceKey % Ports)))];
            byte[] list = [.. ReservationTests.List(key, serviceKey)[..16], 0, (byte)(serviceKey > 2 ? 3 : 1), 0, 1, 0, 0, 0, (byte)id.Length, .. id];
            return initiators[nexus].Send(Initiator.Hex($"5F 07 00 00 00 00 00 00 {list.Length:X2} 00"), list);
        }
    }
}
