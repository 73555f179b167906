using CowScsi.Layers;
using CowScsi.Tests.Unit.Engine;
using Xunit;
using Xunit.Abstractions;
using static CowScsi.Tests.Unit.Scsi.ThirdPartyCopy.CopyInitiator;

namespace CowScsi.Tests.Unit.Scsi.ThirdPartyCopy;

/// <summary>
/// Random copies, tokens, writes and discards on the disks of a real store - plain, compressed, encrypted with keys of their own, and a clone
/// that shares one - beside byte arrays that say what must be there.
/// </summary>
public sealed class CopyModelTests(ITestOutputHelper output)
{
    private const int Blocks = 4096;
    private const int BlockBytes = 512;

    [Theory]
    [InlineData(20261121)]
    [InlineData(7)]
    public async Task RandomCopiesAndTokens_LeaveEveryDiskAsTheModelSays(int seed)
    {
        output.WriteLine($"seed {seed}");
        using var folder = new StoreFolder();
        await using var store = folder.Create();
        var devices = OpenDisks(store);
        var world = new World(new CopyInitiator(TargetOf(null, [.. devices])), devices.Count, seed);
        world.Begin();
        for (var step = 0; step < 400; step++)
            world.Step();
        world.CompareAll();
        world.Initiator.Dispose();
        foreach (var device in devices)
            await device.DisposeAsync();
        Assert.Empty(store.Check(null, default).Findings);
    }

    private static List<BlockDevice> OpenDisks(DiskStore store)
    {
        var size = (long)Blocks * BlockBytes;
        var passphrase = "correct horse"u8;
        var cost = new KeySlotCost(Passes: 1, MemoryKiB: 64, Lanes: 1);
        store.CreateDisk(new DiskSpec { Name = "plain", SizeBytes = size }, default);
        store.CreateDisk(new DiskSpec { Name = "second", SizeBytes = size }, default);
        store.CreateDisk(new DiskSpec { Name = "packed", SizeBytes = size, Compression = Compression.Lz4 }, default);
        store.CreateDisk(new DiskSpec { Name = "secret", SizeBytes = size, Encryption = Encryption.XtsAes256, KeyCost = cost }, passphrase);
        store.CreateDisk(new DiskSpec { Name = "other", SizeBytes = size, Encryption = Encryption.XtsAes256, KeyCost = cost }, passphrase);
        var secret = store.OpenDisk("secret", passphrase);
        store.CreateSnapshot("secret", "s");
        store.Clone("secret", "s", "same-key");
        return
        [
            store.OpenDisk("plain", default), store.OpenDisk("second", default), store.OpenDisk("packed", default),
            secret, store.OpenDisk("other", passphrase), store.OpenDisk("same-key", passphrase),
        ];
    }

    /// <summary>The disks, what must be on them, and the tokens that are out.</summary>
    private sealed class World(CopyInitiator initiator, int disks, int seed)
    {
        private readonly Random random = new(seed);
        private readonly byte[][] model = [.. Enumerable.Range(0, disks).Select(_ => new byte[Blocks * BlockBytes])];
        private readonly List<(byte[] Bytes, int Disk, int Lba, int Count, bool IsValid)> tokens = [];
        private byte[][] devices = [];
        private string done = "";

        public CopyInitiator Initiator => initiator;

        public void Begin() => devices = [.. Enumerable.Range(0, disks).Select(initiator.Device)];

        public void Step()
        {
            var disk = random.Next(disks);
            var (lba, count) = Range(1024);
            switch (random.Next(8))
            {
                case 0 or 1:
                    Write(disk, lba, Math.Min(count, 512));
                    break;
                case 2:
                    done = $"unmap {disk} {lba}+{count}";
                    initiator.Good("42 00 00 00 00 00 00 00 18 00", Convert.FromHexString($"0016001000000000{lba:X16}{count:X8}00000000"), disk);
                    model[disk].AsSpan(lba * BlockBytes, count * BlockBytes).Clear();
                    Changed(disk, lba, count);
                    break;
                case 3 or 4 or 5:
                    Copy(disk);
                    break;
                case 6:
                    done = $"token of {disk} {lba}+{count}";
                    tokens.Add((initiator.Populate([(lba, count)], disk), disk, lba, count, true));
                    break;
                default:
                    WriteUsing(disk);
                    break;
            }

            if (random.Next(8) == 0)
                Compare(random.Next(disks));
        }

        public void CompareAll()
        {
            for (var disk = 0; disk < disks; disk++)
                Compare(disk);
        }

        private void Write(int disk, int lba, int count)
        {
            done = $"write {disk} {lba}+{count}";
            var data = new byte[count * BlockBytes];
            random.NextBytes(data);
            if (random.Next(2) == 0)
                data.AsSpan(data.Length / 4).Fill(0x5A); // Something to compress.
            initiator.Good($"8A 00 {lba:X16} {count:X8} 00 00", data, disk);
            data.CopyTo(model[disk], lba * BlockBytes);
            Changed(disk, lba, count);
        }

        private void Copy(int source)
        {
            var segments = new List<byte[]>();
            done = "copy";
            for (var i = random.Next(1, 4); i > 0; i--)
            {
                var destination = random.Next(disks);
                var (from, count) = Range(2048);
                var to = random.Next(Blocks - count + 1);
                if (random.Next(2) == 0)
                    (from, to, count) = (from & ~127, to & ~127, Math.Max(128, count & ~127)); // Whole map pages: those can be shared.
                count = Math.Min(count, Blocks - Math.Max(from, to));
                done += $" {source}:{from}->{destination}:{to}+{count}";
                segments.Add(Segment(source, destination, count, from, to));
                var data = model[source].AsSpan(from * BlockBytes, count * BlockBytes).ToArray();
                data.CopyTo(model[destination], to * BlockBytes);
                Changed(destination, to, count);
            }

            initiator.Copy(List(devices, [.. segments]), lun: random.Next(disks));
        }

        private void WriteUsing(int disk)
        {
            if (tokens.Count == 0)
                return;
            var index = random.Next(tokens.Count);
            var (bytes, source, lba, count, isValid) = tokens[index];
            var offset = random.Next(count);
            var length = random.Next(1, count - offset + 1);
            var to = random.Next(Blocks - length + 1);
            done = $"write by token {source}:{lba + offset}->{disk}:{to}+{length}";
            if (!isValid)
            {
                initiator.WriteFails(0x052306, bytes, [(to, length)], disk, offset);
            }
            else if (source == disk && to < lba + count && lba < to + length)
            {
                initiator.WriteFails(0x052600, bytes, [(to, length)], disk, offset);
            }
            else
            {
                initiator.WriteUsing(bytes, [(to, length)], disk, offset);
                model[source].AsSpan((lba + offset) * BlockBytes, length * BlockBytes).ToArray().CopyTo(model[disk], to * BlockBytes);
                Changed(disk, to, length);
            }

            if (random.Next(4) == 0)
                tokens.RemoveAt(index);
        }

        private void Changed(int disk, int lba, int count)
        {
            for (var i = 0; i < tokens.Count; i++)
            {
                var token = tokens[i];
                if (token.Disk == disk && lba < token.Lba + token.Count && token.Lba < lba + count)
                    tokens[i] = token with { IsValid = false };
            }
        }

        private (int Lba, int Count) Range(int countMax)
        {
            var count = random.Next(1, countMax + 1);
            return (random.Next(Blocks - count + 1), count);
        }

        private void Compare(int disk)
        {
            const int Piece = 2048;
            for (var lba = 0; lba < Blocks; lba += Piece)
            {
                initiator.Good($"88 00 {lba:X16} {Piece:X8} 00 00", lun: disk);
                var same = initiator.Data.AsSpan().CommonPrefixLength(model[disk].AsSpan(lba * BlockBytes, Piece * BlockBytes));
                Assert.True(same == Piece * BlockBytes, $"seed {seed}: disk {disk} differs at block {lba + (same / BlockBytes)}; last: {done}");
            }
        }
    }
}
