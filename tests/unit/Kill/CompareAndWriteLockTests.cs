using System.Buffers.Binary;
using System.Globalization;
using CowScsi.Iscsi.Pdu;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// COMPARE AND WRITE as clusters use it: whoever changes the lock block from zeros to its own number holds the lock, and may change what it
/// guards. Initiators of their own connections count together in a block that only the lock protects: an update that is lost is missing at
/// the end.
/// </summary>
public sealed class CompareAndWriteLockTests(ITestOutputHelper output)
{
    private const int BlockBytes = 512;
    private const int LockBlock = 3;
    private const int CounterBlock = 77;
    private const int Initiators = 2;

    /// <summary>Rounds of all initiators together; the long run makes a million.</summary>
    private const int Rounds = 4_000;
    private const int RoundsInSoak = 1_000_000;

    [Theory]
    [InlineData("none", false)]
    [InlineData("lz4", true)]
    public async Task CompareAndWrite_AsALockOfTwoInitiators_LosesNoUpdate(string compression, bool isShortRunOnly)
    {
        var isSoak = Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") is { Length: > 0 };
        var rounds = isSoak && !isShortRunOnly ? RoundsInSoak : Rounds;
        using var files = new TemporaryDirectory();
        var store = files.File("store");
        var cli = new CliRun().With("VDISK_STORE", store);
        await cli.DoAsync("init");
        await cli.DoAsync("create", "pg", "--size", "1MiB", "--compress", compression);
        using var server = ServerProcess.Start(store);
        Assert.True(await server.IsReadyAsync(1), server.Complaints);

        var misses = await Task.WhenAll(Enumerable.Range(1, Initiators).Select(number => Task.Factory.StartNew(
            () => Count(server, (byte)number, rounds / Initiators), CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default)));

        using var initiator = server.Connect("pg", port: 9);
        var counter = initiator.Read(CounterBlock, 1, out _);
        output.WriteLine(string.Create(CultureInfo.InvariantCulture, $"{rounds} rounds, {misses.Sum()} times the lock was another's"));
        Assert.Equal(rounds, BinaryPrimitives.ReadInt64LittleEndian(counter));
        Assert.Equal(new byte[BlockBytes], initiator.Read(LockBlock, 1, out _));
        Assert.True(misses.Sum() > 0, "the initiators never met");
    }

    /// <returns>How often another one held the lock.</returns>
    private static long Count(ServerProcess server, byte number, int rounds)
    {
        using var initiator = server.Connect("pg", number);
        var free = new byte[BlockBytes];
        var held = new byte[BlockBytes];
        held.AsSpan().Fill(number);
        long misses = 0;
        for (var round = 0; round < rounds; round++)
        {
            while (!TryExchange(initiator, free, held))
                misses++;
            var counter = initiator.Read(CounterBlock, 1, out _);
            BinaryPrimitives.WriteInt64LittleEndian(counter, BinaryPrimitives.ReadInt64LittleEndian(counter) + 1);
            initiator.Command(0xA0, BlockBytes, TestInitiator.Write10(CounterBlock, 1), counter);
            initiator.ReceiveStatus(ScsiStatusByte.Good);
            Assert.True(TryExchange(initiator, held, free), "the lock was taken from its holder");
        }

        return misses;
    }

    private static bool TryExchange(TestInitiator initiator, byte[] expected, byte[] wanted)
    {
        // SBC-4, 5.2: one block to compare with and one to write.
        var cdb = new byte[16];
        cdb[0] = 0x89;
        cdb[9] = LockBlock;
        cdb[13] = 1;
        initiator.Command(0xA0, 2 * BlockBytes, cdb, [.. expected, .. wanted]);
        var answer = initiator.Receive(Opcode.ScsiResponse);
        if (answer.Header[3] == 0)
            return true;
        Assert.Equal((byte)ScsiStatusByte.CheckCondition, answer.Header[3]);
        // Fixed format behind two bytes of length: MISCOMPARE DURING VERIFY OPERATION.
        Assert.Equal(0x0E, answer.Data[4] & 0x0F);
        Assert.Equal((0x1D, 0x00), (answer.Data[14], answer.Data[15]));
        return false;
    }
}
