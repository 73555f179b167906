using System.Collections.Concurrent;
using CowScsi.Scsi;
using CowScsi.VhostUser;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A real back end on a socket in a folder of its own: SCSI with one target and disks at LUNs 0 and 300, or a block device.</summary>
internal sealed class TestBackEnd : IAsyncDisposable
{
    public const int DiskBytes = 4 * 1024 * 1024;
    public const int HighLun = 300;

    private readonly DirectoryInfo folder = Directory.CreateTempSubdirectory("vhost-");

    private TestBackEnd(bool isBlk)
    {
        Path = System.IO.Path.Combine(folder.FullName, "socket");
        Disk = new TestDisk(DiskBytes);
        if (isBlk)
        {
            Device = new VirtioBlkDevice(Disk, "serial-1");
        }
        else
        {
            Target.TryAddLun(0, Unit(Disk, 1));
            Target.TryAddLun(HighLun, Unit(new TestDisk(DiskBytes), 2));
            var scsi = new VirtioScsiDevice("guest");
            scsi.AddTarget(0, Target);
            Device = scsi;
        }

        Server = VhostUserServer.Listen(Path, Device, Lines.Enqueue);
    }

    public string Path { get; }

    public TestDisk Disk { get; }

    public ScsiTarget Target { get; } = new("target,t,0x0001");

    public VirtioDevice Device { get; }

    public VhostUserServer Server { get; }

    public ConcurrentQueue<string> Lines { get; } = new();

    public static TestBackEnd Scsi() => new(isBlk: false);

    public static TestBackEnd Blk() => new(isBlk: true);

    public static LogicalUnit Unit(TestDisk disk, int id) =>
        new(disk, LogicalUnitIdentity.FromDisk(new Guid(id, 2, 3, new byte[8]), "disk"), new LogicalUnitOptions());

    public TestFrontEnd Connect() => new(Path);

    public async ValueTask DisposeAsync()
    {
        Disk.Release();
        await Server.DisposeAsync();
        folder.Delete(recursive: true);
    }
}
