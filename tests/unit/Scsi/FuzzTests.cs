using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>
/// Random CDBs and parameter lists of several nexuses against what must hold for every command. COWSCSI_SOAK_SECONDS goes on with fresh
/// seeds; each is printed, and a failure names seed and case.
/// </summary>
public sealed class FuzzTests(ITestOutputHelper output)
{
    internal const int CasesPerSeed = 40_000;
    private const int Nexuses = 3;
    private const byte PersistentReserveOut = 0x5F;

    /// <summary>Cases after which a reservation that shuts nexuses out is taken away, so that other commands are reached.</summary>
    private const int ClearEvery = 50;

    /// <summary>Unit attention conditions that may be pending before a command gets through.</summary>
    private const int AttentionsMax = 32;

    /// <summary>Longest list or room offered: more than any parameter list, and a few dozen blocks.</summary>
    private const int DataBytesMax = 60_000;

    private static readonly ScsiStatus[] Statuses =
    [
        ScsiStatus.Good, ScsiStatus.CheckCondition, ScsiStatus.ConditionMet, ScsiStatus.Busy, ScsiStatus.TaskSetFull, ScsiStatus.ReservationConflict,
    ];

    [Theory]
    [InlineData(1, false, 512, false)]
    [InlineData(2, true, 512, false)]
    [InlineData(3, false, 4096, false)]
    [InlineData(4, true, 512, true)]
    [InlineData(5, false, 4096, true)]
    public async Task RandomCommands_NeverBreakTheInvariants(int seed, bool isRemovable, int blockBytes, bool remembers)
    {
        var clock = Stopwatch.StartNew();
        var soak = TimeSpan.FromSeconds(double.Parse(Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") ?? "0", CultureInfo.InvariantCulture) / 40);
        long cases = 0;
        do
        {
            output.WriteLine($"seed {seed}");
            await RunAsync(seed, CasesPerSeed, isRemovable, blockBytes, remembers);
            cases += CasesPerSeed;
            seed += 1000;
        }
        while (clock.Elapsed < soak);
        output.WriteLine($"{cases} commands in {clock.Elapsed.TotalSeconds:F1} s");
    }

    /// <summary>Every operation code with every service action, in CDBs of every length, of zeros and of ones.</summary>
    [Theory]
    [InlineData(0x00)]
    [InlineData(0xFF)]
    public async Task EveryOpcodeActionAndLength_IsAnsweredInOrder(byte fill)
    {
        using var initiator = new Initiator(new RamDisk(1024), new LogicalUnitOptions { Memory = new RamMemory(), IsRemovable = true });
        for (var opcode = 0; opcode < 256; opcode++)
        {
            for (var action = 0; action < 32; action++)
            {
                for (var length = 1; length <= ScsiCommand.CdbBytesMax; length++)
                {
                    var cdb = Initiator.Fill(length, fill);
                    cdb[0] = (byte)opcode;
                    if (length > 1)
                        cdb[1] = (byte)((fill & 0xE0) | action);
                    await initiator.Start(initiator.Command, cdb, roomBytes: 512);
                    Check(initiator.Command, cdb, 512, $"{Convert.ToHexString(cdb)}");
                    if (initiator.Unit.Operation is { } operation)
                        await operation.Ended;
                }
            }
        }

        Assert.Equal(0, initiator.Unit.TaskCount);
    }

    internal static async Task RunAsync(int seed, int cases, bool isRemovable, int blockBytes, bool remembers)
    {
        var random = new Random(seed);
        var options = new LogicalUnitOptions { IsRemovable = isRemovable, Memory = remembers ? new RamMemory() : null };
        using var first = new Initiator(new RamDisk(1024, blockBytes), options);
        var initiators = new List<Initiator> { first };
        while (initiators.Count < Nexuses)
            initiators.Add(new Initiator(first, $"iqn.1993-08.org.debian:f{initiators.Count},i,0x{initiators.Count:x4}"));
        var data = new byte[64 << 10];
        var good = 0;
        for (var i = 0; i < cases; i++)
        {
            var initiator = initiators[random.Next(Nexuses)];
            var cdb = RandomCdb(random, initiator);
            random.NextBytes(data.AsSpan(0, 64));
            var sent = RandomLength(random, blockBytes);
            var room = RandomLength(random, blockBytes);
            if (cdb.Length >= 10 && cdb[0] == PersistentReserveOut && random.Next(4) != 0)
                sent = WriteReservationList(random, cdb, data);
            if (i % ClearEvery == 0 && first.Unit.FailedErasure is null)
                await ClearReservationsAsync(initiators);
            if (random.Next(16) == 0)
                first.Disk.NextFailure = BlockResult.Fail((BlockOutcome)random.Next(2, 10), random.Next(1 << 20) * 512L);
            var lun = random.Next(32) == 0 ? (ulong)random.NextInt64() : 0;
            await initiator.Start(initiator.Command, cdb, data[..sent], room, lun);
            var what = $"seed {seed}, case {i}: {Convert.ToHexString(cdb)}";
            Check(initiator.Command, cdb, room, what);
            good += initiator.Command.Status == ScsiStatus.Good ? 1 : 0;
            if (first.Unit.Operation is { } operation)
                await operation.Ended;
            first.Disk.NextFailure = null;

            // A sanitize that was made to fail would hold the medium for all that follows.
            if (first.Unit.FailedErasure is not null && random.Next(8) == 0)
                await first.Unit.SaveErasureAsync(null);
        }

        // A fuzzer whose commands are all refused tests nothing but the refusal.
        Assert.InRange(good, cases / 25, cases);
        Assert.Equal(0, first.Unit.TaskCount);
        for (var i = 1; i < Nexuses; i++)
            initiators[i].Dispose();
    }

    private static byte[] RandomCdb(Random random, Initiator initiator)
    {
        var cdb = new byte[random.Next(8) == 0 ? random.Next(0, 33) : 16];
        random.NextBytes(cdb);
        if (cdb.Length < 2 || random.Next(4) == 0)
            return cdb;

        // Mostly a known command within its usage mask, so that its handler is reached.
        var entries = initiator.Unit.Commands.Entries;
        var entry = entries[random.Next(entries.Length)];
        for (var i = 0; i < cdb.Length; i++)
            cdb[i] = i < entry.CdbLength ? (byte)(cdb[i] & entry.Usage[i]) : (byte)0;
        cdb[0] = entry.Opcode;
        if (entry.HasServiceAction)
            cdb[1] = (byte)((cdb[1] & 0xE0) | entry.ServiceAction);
        if (random.Next(4) == 0 || cdb.Length < entry.CdbLength)
            return cdb;

        // And mostly small numbers, so that ranges are on the medium.
        for (var i = 2; i < entry.CdbLength - 1; i++)
        {
            if (random.Next(8) != 0 && i != entry.CdbLength - 2 && i != entry.CdbLength - 3)
                cdb[i] = 0;
        }

        return cdb;
    }

    /// <summary>A list of about the right form: few keys, so that they match, and TransportIDs that are whole as a rule.</summary>
    private static int WriteReservationList(Random random, byte[] cdb, byte[] data)
    {
        data.AsSpan(0, 24).Clear();
        data[7] = (byte)random.Next(3);
        data[15] = (byte)random.Next(3);
        data[17] = (byte)random.Next(4);
        data[19] = (byte)random.Next(3);
        data[20] = (byte)(random.Next(2) * 8 | random.Next(2) * 4 | random.Next(2));
        cdb[2] = (byte)random.Next(10);
        var isMove = (cdb[1] & 0x1F) == 7;
        var at = isMove ? 24 : 28;
        if (isMove || (data[20] & 8) != 0)
        {
            for (var count = random.Next(4); count > 0; count--)
                at += TransportId.Write(data.AsSpan(at), random.Next(3) == 0 ? "iqn.1993-08.org.debian:a" : $"iqn.1993-08.org.debian:{random.Next(6)},i,0x1");
            BinaryPrimitives.WriteInt32BigEndian(data.AsSpan(isMove ? 20 : 24), isMove ? at - 24 : at - 28);
        }
        else
        {
            at = 24;
        }

        for (var flips = random.Next(3) == 0 ? random.Next(1, 4) : 0; flips > 0; flips--)
            data[random.Next(at)] ^= (byte)(1 << random.Next(8));
        BinaryPrimitives.WriteInt32BigEndian(cdb.AsSpan(5), random.Next(8) == 0 ? random.Next(at + 8) : at);
        return random.Next(8) == 0 ? random.Next(at + 1) : at;
    }

    private static async Task ClearReservationsAsync(List<Initiator> initiators)
    {
        // Who holds a reservation of the old kind is the only one to give it up; the others' release conflicts.
        foreach (var initiator in initiators)
            await SendAsync(initiator, "17 00 00 00 00 00", []);
        await SendAsync(initiators[0], "A4 0A 00 00 00 00 00 00 00 08 00 00", Initiator.Hex("00000000 00 00 0001"));
        Assert.Equal(ScsiStatus.Good, await SendAsync(initiators[0], "5F 06 00 00 00 00 00 00 18 00", ReservationTests.List(0, 1)));
        Assert.Equal(ScsiStatus.Good, await SendAsync(initiators[0], "5F 03 00 00 00 00 00 00 18 00", ReservationTests.List(1, 0)));
    }

    /// <summary>Sends a command until no unit attention condition is in its way.</summary>
    private static async Task<ScsiStatus> SendAsync(Initiator initiator, string cdb, byte[] list)
    {
        for (var i = 0; i < AttentionsMax; i++)
        {
            await initiator.Start(initiator.Command, Initiator.Hex(cdb), list);
            if (initiator.Command.Status != ScsiStatus.CheckCondition)
                break;
        }

        return initiator.Command.Status;
    }

    private static int RandomLength(Random random, int blockBytes) => random.Next(6) switch
    {
        0 => 0,
        1 => random.Next(0, 64),
        2 => blockBytes,
        3 => random.Next(0, 16) * Math.Min(blockBytes, 4096),
        4 => random.Next(0, DataBytesMax),
        _ => DataBytesMax,
    };

    private static void Check(ScsiCommand command, byte[] cdb, int room, string what)
    {
        var status = command.Status;
        Assert.True(Statuses.Contains(status), what);
        Assert.True(command.DataInLength >= 0 && command.DataInLength <= room, what);
        Assert.True(command.DataInLength <= command.TransferLengthWanted, what);
        Assert.True(command.TransferLengthWanted <= BlockLimits.TransferBytesMax, what);
        Assert.False(command.IsAborted, what);
        Assert.True((status == ScsiStatus.CheckCondition) == (command.SenseLength > 0), what);
        if (AllocationLength(cdb) is { } allocation)
            Assert.True(command.DataInLength <= allocation, what);
        if (status != ScsiStatus.CheckCondition)
            return;

        var sense = command.Sense;
        Assert.True(command.DataInLength == 0, what);
        if ((sense[0] & 0x7F) == 0x70)
        {
            Assert.True(sense.Length == 18 && sense[7] == 10, what);
        }
        else
        {
            Assert.True(sense[0] == 0x72 && sense[7] == sense.Length - 8, what);
            for (var at = 8; at < sense.Length; at += 2 + sense[at + 1])
                Assert.True(sense[at] is 0x00 or 0x01 or 0x02, what);
        }

        Assert.True((Initiator.SenseOf(command) >> 16) is 0x2 or 0x3 or 0x4 or 0x5 or 0x6 or 0x7 or 0xA or 0xB or 0xE, what);
    }

    private static long? AllocationLength(byte[] cdb) => cdb.Length < 12 ? null : cdb[0] switch
    {
        0x03 or 0x1A => cdb[4],
        0x12 => BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(3)),
        0x5A or 0x37 or 0x4D or 0x5E => BinaryPrimitives.ReadUInt16BigEndian(cdb.AsSpan(7)),
        0xA0 or 0xA3 or 0xB7 => BinaryPrimitives.ReadUInt32BigEndian(cdb.AsSpan(6)),
        0x84 or 0x9E when cdb.Length >= 14 => BinaryPrimitives.ReadUInt32BigEndian(cdb.AsSpan(10)),
        _ => null,
    };
}
