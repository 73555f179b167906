using System.Buffers.Binary;
using System.Net.Sockets;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Iscsi;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>SIGKILL among changes of reservations under APTPL: what was acknowledged is in force after the restart.</summary>
public sealed class ReservationKillTests(ITestOutputHelper output)
{
    private const int Rounds = 4;
    private const int ChangesMax = 20_000;
    private const byte Conflict = 0x18;
    private const byte ReadFlags = 0xC0;
    private const byte WriteFlags = 0xA0;

    private static readonly byte[] RegisterAndIgnore = Convert.FromHexString("5F060000000000001800");
    private static readonly byte[] ReserveWriteExclusive = Convert.FromHexString("5F010100000000001800");
    private static readonly byte[] ReadKeys = Convert.FromHexString("5E000000000000010000");

    [Fact]
    public async Task KilledAmongChanges_KeepsTheLastAcknowledgedOne_OrTheNext()
    {
        var random = new Random(7);
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "pg", "--size", "1MiB");
        ulong acknowledged = 0;
        for (var round = 0; round <= Rounds; round++)
        {
            using var server = ServerProcess.Start(store.Directory);
            Assert.True(await server.IsReadyAsync(1), $"the server does not start: {server.Complaints}");
            using var initiator = server.Connect("pg");
            var keys = KeysOf(initiator);
            output.WriteLine($"round {round}: acknowledged {acknowledged}, found {string.Join(' ', keys)}");
            if (round > 0)
            {
                var key = Assert.Single(keys);
                Assert.InRange(key, acknowledged, acknowledged + 1);
                acknowledged = key;
                AssertExcluded(server);
            }

            using var killing = round < Rounds ? server.KillAtFileEvent(store.Directory, random.Next(20, 200)) : null;
            if (killing is null)
            {
                server.Kill();
                await server.ExitAsync();
                return;
            }

            acknowledged = ChangeUntilTheEnd(initiator, acknowledged);
            await server.ExitAsync();
        }
    }

    /// <summary>Registers one key after the other; the first one reserves. Answers the last that was acknowledged.</summary>
    private static ulong ChangeUntilTheEnd(TestInitiator initiator, ulong acknowledged)
    {
        try
        {
            for (var i = 0; i < ChangesMax; i++)
            {
                Send(initiator, RegisterAndIgnore, 0, acknowledged + 1);
                acknowledged++;
                if (acknowledged == 1)
                    Send(initiator, ReserveWriteExclusive, 1, 0);
            }
        }
        catch (Exception end) when (end is EndOfStreamException or SocketException or IOException)
        {
            return acknowledged;
        }

        throw new InvalidOperationException($"the server lives after {ChangesMax} changes");
    }

    private static void AssertExcluded(ServerProcess server)
    {
        using var other = server.Connect("pg", port: 2);
        other.Command(WriteFlags, 512, TestInitiator.Write10(0, 1), new byte[512]);
        Assert.Equal(Conflict, other.Receive().Header[3]);
    }

    private static List<ulong> KeysOf(TestInitiator initiator)
    {
        initiator.Command(ReadFlags, 256, ReadKeys);
        var data = initiator.ReceiveStatus(ScsiStatusByte.Good).Data;
        var keys = new List<ulong>();
        for (var at = 8; at < data.Length; at += 8)
            keys.Add(BinaryPrimitives.ReadUInt64BigEndian(data.AsSpan(at)));
        return keys;
    }

    private static void Send(TestInitiator initiator, byte[] cdb, ulong key, ulong serviceKey)
    {
        var list = new byte[24];
        BinaryPrimitives.WriteUInt64BigEndian(list, key);
        BinaryPrimitives.WriteUInt64BigEndian(list.AsSpan(8), serviceKey);
        list[20] = 1;
        initiator.Command(WriteFlags, (uint)list.Length, cdb, list);
        initiator.ReceiveStatus(ScsiStatusByte.Good);
    }
}
