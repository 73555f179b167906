using System.Net;
using CowScsi.Tests.Unit.Iscsi;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// An initiator that behaves, beside those that do not: writes, reads back and compares without a pause. Each wait is bounded by its
/// socket's time limit, so a server that hangs shows here.
/// </summary>
internal sealed class Bystander : IDisposable
{
    private const int BlockBytes = 512;
    private const int BlocksMax = 64;

    private readonly TestInitiator initiator;
    private readonly Random random;
    private readonly byte[] expected;
    private readonly Task running;
    private volatile bool isStopping;
    private long rounds;

    public Bystander(IPEndPoint portal, string target, int diskBytes, int seed)
    {
        random = new Random(seed);
        expected = new byte[diskBytes];
        initiator = new TestInitiator(portal);
        initiator.LoginAs("InitiatorName=iqn.2026-01.test.fuzz:bystander", "TargetName=" + target, "InitialR2T=No", "DataDigest=CRC32C");
        initiator.ClearUnitAttentions();
        running = Task.Factory.StartNew(Run, CancellationToken.None, TaskCreationOptions.LongRunning, TaskScheduler.Default);
    }

    public long Rounds => Interlocked.Read(ref rounds);

    /// <summary>Its disk as it must be.</summary>
    public byte[] Expected => expected;

    /// <summary>Throws what went wrong, as soon as it did.</summary>
    public void Check()
    {
        if (running.IsFaulted)
            throw new FuzzDefect("the bystander was harmed: " + running.Exception!.InnerException);
    }

    public async Task StopAsync()
    {
        isStopping = true;
        await running;
    }

    public void Dispose() => initiator.Dispose();

    private void Run()
    {
        while (!isStopping)
        {
            var blocks = random.Next(1, BlocksMax);
            var lba = random.Next((expected.Length / BlockBytes) - blocks);
            var data = new byte[blocks * BlockBytes];
            random.NextBytes(data);
            initiator.Command(0xA0, (uint)data.Length, TestInitiator.Write10(lba, blocks), data);
            Require(initiator.ReceiveStatus(ScsiStatusByte.Good)[44] == 0, "a write with a residual");
            data.CopyTo(expected, lba * BlockBytes);
            lba = random.Next((expected.Length / BlockBytes) - blocks);
            var read = initiator.Read(lba, blocks, out _);
            Require(read.AsSpan().SequenceEqual(expected.AsSpan(lba * BlockBytes, read.Length)), "a read of other data than was written");
            Interlocked.Increment(ref rounds);
        }
    }

    private static void Require(bool holds, string what)
    {
        if (!holds)
            throw new FuzzDefect(what);
    }
}
