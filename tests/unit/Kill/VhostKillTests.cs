using System.Buffers.Binary;
using System.Diagnostics;
using System.Globalization;
using CowScsi.Tests.Unit.Cli;
using CowScsi.Tests.Unit.Vhost;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>
/// SIGKILL of a real `vdisk serve` under a guest's I/O through vhost-user-scsi, again and again: the guest's requests stay in its rings and
/// in the inflight region, and the next server carries them on. Every write that was answered is there, every request is answered once, and
/// none that must not be repeated is: COMPARE AND WRITE counts, and a count that was done twice would miscompare with itself.
/// COWSCSI_SOAK_SECONDS asks for so much time, COWSCSI_SEED repeats a run.
/// </summary>
public sealed class VhostKillTests(ITestOutputHelper output)
{
    private const int Rounds = 6;
    private const int SoakShares = 4;
    private const int Places = 2 * EnduringGuest.PlacesPerQueue;
    private const int SectorBytes = 512;
    private const int SectorsPerBlock = EnduringGuest.DataBytes / SectorBytes;
    private const byte Aborted = 2;
    private const byte CheckCondition = 2;
    private const int UnitAttention = 6;

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task KilledServer_LosesNothing_AndCountsNothingTwice(bool isPacked)
    {
        var soak = double.Parse(Environment.GetEnvironmentVariable("COWSCSI_SOAK_SECONDS") is { Length: > 0 } text ? text : "0", CultureInfo.InvariantCulture) / SoakShares;
        var seed = Environment.GetEnvironmentVariable("COWSCSI_SEED") is { Length: > 0 } chosen
            ? int.Parse(chosen, CultureInfo.InvariantCulture)
            : unchecked((int)Stopwatch.GetTimestamp());
        output.WriteLine($"COWSCSI_SEED={seed}");
        var random = new Random(seed);
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "disk", "--size", "1MiB");
        using var guest = new EnduringGuest(isPacked);
        var workload = new Workload(guest, random);
        var socket = store.Files.File("guest.sock");
        var clock = Stopwatch.StartNew();
        var (kills, killedEarly, carriedOn) = (0, 0, 0);
        while (true)
        {
            using var server = ServerProcess.Start(store.Directory, "--vhost-user", socket);

            // Some die on their way up, or with the requests of the last one in their hands.
            using var early = random.Next(3) == 0 ? server.KillAtFileEvent(store.Directory, random.Next(1, 60)) : null;
            if (!await server.IsReadyAsync(1))
            {
                Assert.True(early is not null, $"the server does not start: {server.Complaints}");
                killedEarly++;
                continue;
            }

            if (!await TryConnectAsync(guest, server, socket))
            {
                Assert.True(early is not null, $"the server takes no guest: {server.Complaints}");
                killedEarly++;
                continue;
            }

            var isLast = soak > 0 ? clock.Elapsed.TotalSeconds > soak : kills >= Rounds;
            if (isLast && early is null)
            {
                workload.Finish();
                server.Kill();
                await server.ExitAsync();
                break;
            }

            carriedOn += guest.UnderWay;
            await KillAmongRequestsAsync(workload, server, answers: random.Next(400), spins: random.Next(20_000));
            kills++;
        }

        output.WriteLine($"{kills} kills under I/O, {killedEarly} more of servers that were not ready or had no guest yet; {workload.Answers} answers: " +
            $"{workload.Writes} writes, {workload.Counts} counts, {workload.AbortedCounts} aborted ({workload.AbortedDone} of them had been done), {carriedOn} requests carried on; {clock.Elapsed.TotalSeconds:F1} s");
        Assert.True(workload.Counts > 0 && workload.Writes > 0);
    }

    /// <summary>A server that is killed while the guest connects breaks the conversation off, wherever it stands.</summary>
    private static async Task<bool> TryConnectAsync(EnduringGuest guest, ServerProcess server, string socket)
    {
        try
        {
            guest.Connect(socket);
            return true;
        }
        catch (Exception end) when (end is Xunit.Sdk.XunitException or System.Net.Sockets.SocketException)
        {
            if (!server.HasExited)
                await Task.Delay(200);
            if (!server.HasExited)
                throw;
            return false;
        }
    }

    private static async Task KillAmongRequestsAsync(Workload workload, ServerProcess server, int answers, int spins)
    {
        var until = workload.Answers + answers;
        while (workload.Answers < until && !server.HasExited)
            workload.Step();

        // Not from this thread: the guest goes on submitting while the kill is on its way.
        var kill = Task.Run(() =>
        {
            Thread.SpinWait(spins);
            server.Kill();
        });
        while (!server.HasExited)
            workload.Step();
        await kill;
        await server.ExitAsync();
        workload.TakeAnswers();
    }

    /// <summary>
    /// Each place has a block of its own, that it writes with FUA or counts up in: what an answer said, the next one is judged by.
    /// </summary>
    private sealed class Workload(EnduringGuest guest, Random random)
    {
        private readonly long[] known = new long[Places];
        private readonly long[] wanted = new long[Places];
        private readonly Request[] requests = new Request[Places];

        private enum Request : byte
        {
            None,
            Write,
            Count,

            /// <summary>A read; the block must hold what is known.</summary>
            Check,

            /// <summary>A read after a count that was aborted: it was done or it was not.</summary>
            LookAfterAbort,
        }

        public int Answers { get; private set; }

        public int Writes { get; private set; }

        public int Counts { get; private set; }

        public int AbortedCounts { get; private set; }

        public int AbortedDone { get; private set; }

        /// <summary>Keeps all places busy, and takes what was answered.</summary>
        public void Step()
        {
            for (var place = 0; place < Places; place++)
            {
                if (requests[place] == Request.None)
                    Submit(place, random.Next(4) == 0 ? Request.Check : IsCounter(place) ? Request.Count : Request.Write);
            }

            TakeAnswers();
        }

        public void TakeAnswers()
        {
            while (guest.TakeAnswer() is >= 0 and var place)
                Judge(place);
        }

        /// <summary>Lets everything end, and reads every block.</summary>
        public void Finish()
        {
            Await();
            for (var place = 0; place < Places; place++)
                Submit(place, Request.Check);
            Await();
        }

        private static bool IsCounter(int place) => place % 2 == 1;

        private void Await()
        {
            var clock = Stopwatch.StartNew();
            while (guest.UnderWay > 0)
            {
                TakeAnswers();
                Assert.True(clock.Elapsed < Bounds.Patience, $"{guest.UnderWay} requests are never answered");
            }
        }

        private void Submit(int place, Request request)
        {
            Span<byte> cdb = stackalloc byte[32];
            Span<byte> data = stackalloc byte[EnduringGuest.DataBytes];
            cdb.Clear();
            requests[place] = request;
            switch (request)
            {
                case Request.Write:
                    wanted[place] = known[place] + 1;
                    Fill(data, wanted[place]);
                    cdb[0] = 0x2A;
                    cdb[1] = 0x08; // FUA
                    BinaryPrimitives.WriteUInt32BigEndian(cdb[2..], (uint)(place * SectorsPerBlock));
                    cdb[8] = SectorsPerBlock;
                    guest.Submit(place, cdb, data);
                    break;
                case Request.Count:
                    wanted[place] = known[place] + 1;
                    Fill(data[..SectorBytes], known[place]);
                    Fill(data.Slice(SectorBytes, SectorBytes), wanted[place]);
                    cdb[0] = 0x89;
                    cdb[1] = 0x08; // FUA
                    BinaryPrimitives.WriteUInt64BigEndian(cdb[2..], (ulong)(place * SectorsPerBlock));
                    cdb[13] = 1;
                    guest.Submit(place, cdb, data[..(2 * SectorBytes)]);
                    break;
                default:
                    cdb[0] = 0x28;
                    BinaryPrimitives.WriteUInt32BigEndian(cdb[2..], (uint)(place * SectorsPerBlock));
                    cdb[8] = SectorsPerBlock;
                    guest.Submit(place, cdb, [], EnduringGuest.DataBytes);
                    break;
            }
        }

        private void Judge(int place)
        {
            var request = requests[place];
            requests[place] = Request.None;
            Answers++;
            var (status, response, senseKey) = guest.Answer(place);
            if (response == Aborted && request == Request.Count)
            {
                AbortedCounts++;
                Submit(place, Request.LookAfterAbort);
                return;
            }

            Assert.True(response == 0, $"{request} of place {place}: response {response}");
            if (status == CheckCondition && senseKey == UnitAttention)
            {
                // A new server is a new target: the first command is told so and was not carried out by this one.
                Submit(place, request);
                return;
            }

            Assert.True(status == 0, $"{request} of place {place}, which holds {known[place]} and is to hold {wanted[place]}: status {status}, sense key {senseKey:X}");
            switch (request)
            {
                case Request.Write:
                    known[place] = wanted[place];
                    Writes++;
                    break;
                case Request.Count:
                    known[place] = wanted[place];
                    Counts++;
                    break;
                case Request.LookAfterAbort:
                    var found = BitConverter.ToInt64(guest.Data(place));
                    Assert.InRange(found, known[place], known[place] + 1);
                    AbortedDone += found == known[place] ? 0 : 1;
                    known[place] = found;
                    break;
                default:
                    AssertHolds(place);
                    break;
            }
        }

        private void AssertHolds(int place)
        {
            Span<byte> expected = stackalloc byte[EnduringGuest.DataBytes];
            expected.Clear();
            if (known[place] > 0)
                Fill(IsCounter(place) ? expected[..SectorBytes] : expected, known[place]);
            Assert.True(
                guest.Data(place).SequenceEqual(expected),
                $"place {place} holds {BitConverter.ToInt64(guest.Data(place))}; {known[place]} was answered last");
        }

        /// <summary>A number over and over; zero as a disk that was never written has it.</summary>
        private static void Fill(Span<byte> bytes, long number)
        {
            for (var at = 0; at < bytes.Length; at += sizeof(long))
                BitConverter.TryWriteBytes(bytes[at..], number);
        }
    }
}
