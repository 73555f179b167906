using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Fuzz;

/// <summary>What the structures of one store have in common.</summary>
internal static class TestStore
{
    public const uint Segment = 7;

    public static Guid Id { get; } = new("10111213-1415-1617-1819-1a1b1c1d1e1f");

    public static uint Tag { get; } = Crc32C.Compute(Id.ToByteArray(bigEndian: true));

    public static Catalog Catalog()
    {
        var catalog = new Catalog { NextLayer = 4, NextDisk = 3, NextSnapshot = 2, NextExtentId = 99 };
        catalog.Put(new LayerRow(new LayerId(1), default));
        catalog.Put(new LayerRow(new LayerId(2), new LayerId(1)));
        catalog.Put(new LayerRow(new LayerId(3), new LayerId(1)));
        catalog.Put(Disk(1, "base", 2, new DiskAttributes(Compression.None, Encryption.None, null, 0, default).ToBytes()));
        catalog.Put(Disk(2, "clone", 3, new DiskAttributes(Compression.Lz4, Encryption.None, new BaseImageReference("/a.q", BaseImageFormat.Qcow2), 4096, default).ToBytes()));
        catalog.Put(new SnapshotRow { Id = new SnapshotId(1), Disk = new DiskId(1), Name = "s", Layer = new LayerId(1), SizeBytes = 1 << 20, CreatedTicks = 638_000_000_000_000_000 });
        catalog.PutSetting("target", [1, 2, 3]);
        return catalog;
    }

    private static DiskRow Disk(uint id, string name, uint head, byte[] attributes) => new()
    {
        Id = new DiskId(id), Name = name, SizeBytes = 1 << 20, LogicalBlockBytes = 512, Head = new LayerId(head), Origin = new SnapshotId(id - 1), Uuid = Id, CreatedTicks = 638_000_000_000_000_000,
        Attributes = attributes,
    };
}
