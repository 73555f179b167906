using System.Buffers.Binary;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Rings;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>Rings without a thread: random chains against a driver written from the standard, and chains that break its rules.</summary>
public sealed class RingTests
{
    [Fact]
    public void DriverThatOffersMoreThanItsQueueHolds_WhileRequestsAreTaken_BreaksTheRing()
    {
        using var ram = new GuestRam(1 << 20);
        const int size = 4;
        var (ring, driver) = Pair(ram, isPacked: false, size, inflight: ram.Address + 0x6_0000);
        var split = (SplitDriver)driver;
        split.Write(split.Descriptors, new Piece(GuestRam.GuestBase + 0x8_0000, 8, IsWritable: true), hasNext: false, 0);
        var request = new TestRequest();
        for (var i = 0; i < size; i++)
        {
            // One head again and again: each is taken before the next is offered, and none is shown as answered.
            split.Offer(0);
            Assert.Equal(TakeResult.Taken, ring.TryTake(request));
            ring.PutUsed(request);
        }

        split.Offer(0);
        Assert.Equal(TakeResult.Broken, ring.TryTake(request));
        Assert.True(ring.Publish());
    }

    private const ulong DataArea = GuestRam.GuestBase + 0x8_0000;

    /// <summary>Both sides of a new ring at the start of a guest's memory.</summary>
    internal static (Ring Ring, DriverQueue Driver) Pair(
        GuestRam ram, bool isPacked, int size, bool hasEventIndex = true, bool hasIndirect = true, nint inflight = 0)
    {
        DriverQueue driver = isPacked
            ? new PackedDriver(ram, GuestRam.GuestBase, size, hasEventIndex)
            : new SplitDriver(ram, GuestRam.GuestBase, size, hasEventIndex);
        return (Attach(ram, driver, driver.InitialBase, hasIndirect, inflight), driver);
    }

    /// <summary>The device's side of a ring that a driver has.</summary>
    internal static Ring Attach(GuestRam ram, DriverQueue driver, uint baseIndex, bool hasIndirect = true, nint inflight = 0)
    {
        // The back end maps the file for itself; here one mapping serves both sides.
        var memory = GuestMemory.Empty.With(new MemoryRegion(ram.GuestAddress, (ulong)ram.LengthBytes, ram.UserAddress, ram.Mapped));
        memory.TryFindUser(ram.UserOf(driver.Descriptors), 0, out var descriptors);
        memory.TryFindUser(ram.UserOf(driver.DriverArea), 0, out var driverArea);
        memory.TryFindUser(ram.UserOf(driver.DeviceArea), 0, out var deviceArea);
        var layout = new RingLayout(driver.Size, descriptors, driverArea, deviceArea, driver.HasEventIndex, hasIndirect, memory, Inflight: inflight);
        return driver.IsPacked ? new PackedRing(layout, baseIndex) : new SplitRing(layout, baseIndex);
    }

    public static TheoryData<bool, int, bool, int> Kinds()
    {
        var kinds = new TheoryData<bool, int, bool, int>();
        foreach (var isPacked in new[] { false, true })
        {
            for (var seed = 1; seed <= 10; seed++)
                kinds.Add(isPacked, isPacked ? 5 + (seed * 3) : 1 << (2 + (seed % 5)), seed % 2 == 0, seed);
        }

        return kinds;
    }

    [Theory]
    [MemberData(nameof(Kinds))]
    public void RandomChains_ArriveWhole_AndComeBackOnce(bool isPacked, int size, bool hasEventIndex, int seed)
    {
        using var ram = new GuestRam(1 << 20);
        var (ring, driver) = Pair(ram, isPacked, size, hasEventIndex);
        var random = new Random(seed);
        var submitted = new Dictionary<ushort, Piece[]>();
        var underWay = new List<TestRequest>();
        var freeDescriptors = size;
        var taken = new Dictionary<ushort, uint>();
        for (var step = 0; step < 4000; step++)
        {
            switch (random.Next(3))
            {
                case 0:
                    var pieces = RandomPieces(random, Math.Min(freeDescriptors, 6), out var isIndirect);
                    var cost = isIndirect ? 1 : pieces.Length;
                    if (cost == 0 || cost > freeDescriptors)
                        break;
                    var id = driver.Submit(pieces, isIndirect ? DataArea + 0x4_0000 + (ulong)(random.Next(64) * 256) : 0);
                    Assert.True(submitted.TryAdd(id, pieces));
                    freeDescriptors -= cost;
                    Assert.True(ring.HasAvailable);
                    var request = new TestRequest();
                    Assert.Equal(TakeResult.Taken, ring.TryTake(request));
                    AssertSame(ram, pieces, request);
                    underWay.Add(request);
                    Assert.Equal(TakeResult.Empty, ring.TryTake(new TestRequest()));
                    request.Cost = cost;
                    break;
                case 1 when underWay.Count > 0:
                    var done = underWay[random.Next(underWay.Count)];
                    underWay.Remove(done);
                    done.UsedBytes = random.Next(100);
                    taken.Add(done.Id, (uint)done.UsedBytes);
                    ring.PutUsed(done);
                    freeDescriptors += done.Cost;
                    ring.Publish();
                    break;
                default:
                    while (driver.TryTakeUsed(out var usedId, out var length))
                    {
                        Assert.True(taken.Remove(usedId, out var expected));
                        Assert.Equal(expected, length);
                        Assert.True(submitted.Remove(usedId));
                    }

                    break;
            }

            while (driver.TryTakeUsed(out var usedId, out var length))
            {
                Assert.True(taken.Remove(usedId, out var expected));
                Assert.Equal(expected, length);
                Assert.True(submitted.Remove(usedId));
            }
        }

        Assert.Null(ring.Fault);
    }

    [Theory]
    [InlineData(false, false)]
    [InlineData(false, true)]
    [InlineData(true, false)]
    [InlineData(true, true)]
    public void Notifications_AreAskedForOnce(bool isPacked, bool hasEventIndex)
    {
        using var ram = new GuestRam(1 << 20);
        var (ring, driver) = Pair(ram, isPacked, 8, hasEventIndex);
        ring.EnableNotifications();
        for (var round = 0; round < 20; round++)
        {
            driver.Submit([new Piece(DataArea, 16, false)]);
            Assert.True(driver.TakeKickWish(), "kick for the first request");
            ring.DisableNotifications();
            driver.Submit([new Piece(DataArea, 16, false)]);
            Assert.False(driver.TakeKickWish(), "kick while the device looks by itself");
            driver.WantCall(true);
            for (var i = 0; i < 2; i++)
            {
                var request = new TestRequest();
                Assert.Equal(TakeResult.Taken, ring.TryTake(request));
                ring.PutUsed(request);
            }

            Assert.True(ring.Publish(), "call that the driver asked for");
            driver.WantCall(false);
            while (driver.TryTakeUsed(out _, out _))
            {
            }

            ring.EnableNotifications();
        }
    }

    [Fact]
    public void Call_IsSparedWhereTheDriverWantsNone()
    {
        foreach (var isPacked in new[] { false, true })
        {
            using var ram = new GuestRam(1 << 20);
            var (ring, driver) = Pair(ram, isPacked, 8);
            driver.WantCall(false);
            driver.Submit([new Piece(DataArea, 16, false)]);
            var request = new TestRequest();
            ring.TryTake(request);
            ring.PutUsed(request);
            Assert.False(ring.Publish());
            Assert.False(ring.Publish());
        }
    }

    public static TheoryData<string, bool> Attacks()
    {
        var attacks = new TheoryData<string, bool>();
        foreach (var name in new[] { "loop", "outside", "wraps", "table-odd", "table-zero", "table-huge", "table-outside", "table-nested", "table-loop", "both-flags", "order", "not-negotiated" })
        {
            attacks.Add(name, false);
            if (name is not "table-loop")
                attacks.Add(name, true);
        }

        attacks.Add("head", false);
        attacks.Add("next", false);
        attacks.Add("index", false);
        return attacks;
    }

    [Theory]
    [MemberData(nameof(Attacks))]
    public void BrokenChain_BreaksTheRing_AndTouchesNothing(string attack, bool isPacked)
    {
        using var ram = new GuestRam(1 << 20);
        var (ring, driver) = Pair(ram, isPacked, 8, hasIndirect: attack != "not-negotiated");
        Break(ram, driver, attack);
        var before = ram.At(GuestRam.GuestBase, ram.LengthBytes).ToArray();
        Assert.Equal(TakeResult.Broken, ring.TryTake(new TestRequest()));
        Assert.NotNull(ring.Fault);
        Assert.False(ring.HasAvailable);
        Assert.True(ram.At(GuestRam.GuestBase, ram.LengthBytes).SequenceEqual(before));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public void RandomRings_NeverReachOutsideTheGuest(bool isPacked)
    {
        for (var seed = 1; seed <= 3000; seed++)
        {
            var random = new Random(seed);
            using var ram = new GuestRam(1 << 16);
            var (ring, driver) = Pair(ram, isPacked, 8);
            random.NextBytes(ram.At(driver.Descriptors, 128));
            random.NextBytes(ram.At(driver.DriverArea, 24));
            for (var i = 0; i < 8; i++)
            {
                // Addresses and flags that are half right get further.
                var descriptor = ram.At(driver.Descriptors + (16ul * (uint)i), 16);
                if (random.Next(2) == 0)
                    BinaryPrimitives.WriteUInt64LittleEndian(descriptor, GuestRam.GuestBase + (ulong)random.Next(1 << 16));
                if (random.Next(2) == 0)
                    BinaryPrimitives.WriteUInt32LittleEndian(descriptor[8..], (uint)(random.Next(64) * 16));
                if (random.Next(2) == 0)
                    BinaryPrimitives.WriteUInt64LittleEndian(descriptor[8..], BinaryPrimitives.ReadUInt64LittleEndian(descriptor[8..]) & 0x0007_8087_FFFF_FFFF);
            }

            if (!isPacked && random.Next(4) > 0)
                BinaryPrimitives.WriteUInt16LittleEndian(ram.At(driver.DriverArea + 2, 2), (ushort)random.Next(9));
            for (var i = 0; i < 10; i++)
            {
                var request = new TestRequest();
                if (ring.TryTake(request) != TakeResult.Taken)
                    break;
                foreach (var slice in request.Slices)
                {
                    Assert.True(ring.Memory.TryGetGuestAddress(slice.Address, out var guestAddress));
                    Assert.InRange(guestAddress - ram.GuestAddress + (ulong)slice.Length, 0ul, (ulong)ram.LengthBytes);
                }

                ring.PutUsed(request);
                ring.Publish();
            }
        }
    }

    private static Piece[] RandomPieces(Random random, int descriptorsMax, out bool isIndirect)
    {
        isIndirect = random.Next(2) == 0;
        var count = random.Next(1, (isIndirect ? 12 : Math.Max(descriptorsMax, 1)) + 1);
        var readable = random.Next(count + 1);
        var pieces = new Piece[count];
        for (var i = 0; i < count; i++)
            pieces[i] = new Piece(DataArea + (ulong)random.Next(0x2_0000), random.Next(1, 5000), i >= readable);
        return pieces;
    }

    private static void AssertSame(GuestRam ram, Piece[] pieces, TestRequest request)
    {
        Assert.Equal(pieces.Count(static piece => !piece.IsWritable), request.ReadableCount);
        Assert.Equal(pieces.Count(static piece => piece.IsWritable), request.WritableCount);
        Assert.Equal(pieces.Where(static piece => piece.IsWritable).Sum(static piece => (long)piece.Length), request.Writable.Length);
        Assert.Equal(pieces.Where(static piece => !piece.IsWritable).Sum(static piece => (long)piece.Length), request.Readable.Length);
        var expected = pieces.Select(piece => (Offset: (nint)(piece.Address - ram.GuestAddress), Length: (nint)piece.Length)).ToList();
        var root = request.Slices[0].Address - expected[0].Offset;
        Assert.Equal(expected, request.Slices.ConvertAll(slice => (slice.Address - root, slice.Length)));
    }

    private static void Break(GuestRam ram, DriverQueue driver, string attack)
    {
        const ulong table = DataArea;
        void Place(int index, ulong address, uint length, ushort flags, ushort next = 0) => Put(ram, driver, driver.Descriptors, index, address, length, flags, next);
        void Inner(int index, ulong address, uint length, ushort flags, ushort next = 0)
        {
            var at = ram.At(table + (16ul * (uint)index), 16);
            BinaryPrimitives.WriteUInt64LittleEndian(at, address);
            BinaryPrimitives.WriteUInt32LittleEndian(at[8..], length);
            BinaryPrimitives.WriteUInt16LittleEndian(at[12..], driver.IsPacked ? (ushort)0 : flags);
            BinaryPrimitives.WriteUInt16LittleEndian(at[14..], driver.IsPacked ? flags : next);
        }

        switch (attack)
        {
            case "loop":
                for (var i = 0; i < 8; i++)
                    Place(i, DataArea, 16, DriverQueue.FlagNext, (ushort)((i + 1) % 8));
                break;
            case "outside":
                Place(0, GuestRam.GuestBase + (1 << 20) - 8, 16, 0);
                break;
            case "wraps":
                Place(0, ulong.MaxValue - 7, 16, 0);
                break;
            case "table-odd":
                Place(0, table, 24, DriverQueue.FlagIndirect);
                break;
            case "table-zero":
                Place(0, table, 0, DriverQueue.FlagIndirect);
                break;
            case "table-huge":
                Place(0, table, 0xFFFF_FFF0, DriverQueue.FlagIndirect);
                break;
            case "table-outside":
                Place(0, GuestRam.GuestBase + (1 << 20) - 16, 32, DriverQueue.FlagIndirect);
                break;
            case "table-nested":
                Place(0, table, 16, DriverQueue.FlagIndirect);
                Inner(0, table, 16, DriverQueue.FlagIndirect);
                break;
            case "table-loop":
                Place(0, table, 32, DriverQueue.FlagIndirect);
                Inner(0, DataArea, 16, DriverQueue.FlagNext, 1);
                Inner(1, DataArea, 16, DriverQueue.FlagNext, 0);
                break;
            case "both-flags":
                Place(0, table, 16, DriverQueue.FlagIndirect | DriverQueue.FlagNext, 1);
                break;
            case "order":
                Place(0, DataArea, 16, DriverQueue.FlagWrite | DriverQueue.FlagNext, 1);
                Place(1, DataArea, 16, 0);
                break;
            case "not-negotiated":
                Place(0, table, 16, DriverQueue.FlagIndirect);
                Inner(0, DataArea, 16, 0);
                break;
            case "next":
                Place(0, DataArea, 16, DriverQueue.FlagNext, 8);
                break;
        }

        if (driver is SplitDriver split)
        {
            split.Offer(attack == "head" ? (ushort)8 : (ushort)0);
            if (attack == "index")
                ram.Word(driver.DriverArea + 2) = 9;
        }
    }

    private static void Put(GuestRam ram, DriverQueue driver, ulong table, int index, ulong address, uint length, ushort flags, ushort next)
    {
        var at = ram.At(table + (16ul * (uint)index), 16);
        BinaryPrimitives.WriteUInt64LittleEndian(at, address);
        BinaryPrimitives.WriteUInt32LittleEndian(at[8..], length);
        BinaryPrimitives.WriteUInt16LittleEndian(at[12..], driver.IsPacked ? (ushort)index : flags);
        BinaryPrimitives.WriteUInt16LittleEndian(at[14..], driver.IsPacked ? (ushort)(flags | (1 << 7)) : next);
    }
}
