using System.Security;

namespace CowScsi.Vdisk.Serving;

/// <summary>Whose words <see cref="HostArguments"/> writes.</summary>
internal enum HostProgram
{
    Qemu = 1,
    Libvirt = 2,
    CloudHypervisor = 3,
}

/// <summary>
/// What a virtual machine monitor is told so that its guest gets the disks: the devices, and memory that can be shared, without which no
/// vhost-user device works. Sizes and queue counts are examples to change.
/// </summary>
internal static class HostArguments
{
    private const string NamespaceOfQemu = "http://libvirt.org/schemas/domain/qemu/1.0";

    public static IReadOnlyList<string> For(HostProgram program, VhostSockets sockets) => program switch
    {
        HostProgram.Qemu => Qemu(sockets),
        HostProgram.Libvirt => Libvirt(sockets),
        _ => CloudHypervisor(sockets),
    };

    private static List<string> Qemu(VhostSockets sockets)
    {
        List<string> lines =
        [
            "-m 2G",
            "-object memory-backend-memfd,id=vdisk-memory,size=2G,share=on",
            "-machine memory-backend=vdisk-memory",
        ];
        if (sockets.ScsiSocket is { } scsi)
        {
            lines.Add($"-chardev socket,id=vdisk-scsi,path={Full(scsi)}");
            lines.Add("-device vhost-user-scsi-pci,chardev=vdisk-scsi,num_queues=2");
        }

        var number = 0;
        foreach (var (_, _, socket) in sockets.Blk)
        {
            lines.Add($"-chardev socket,id=vdisk-blk{number},path={Full(socket)},reconnect=1");
            lines.Add($"-device vhost-user-blk-pci,chardev=vdisk-blk{number},num-queues=2");
            number++;
        }

        return lines;
    }

    private static List<string> Libvirt(VhostSockets sockets)
    {
        List<string> lines =
        [
            "<memoryBacking>",
            "  <source type='memfd'/>",
            "  <access mode='shared'/>",
            "</memoryBacking>",
        ];
        var letter = 'a';
        foreach (var (_, _, socket) in sockets.Blk)
        {
            lines.Add("<disk type='vhostuser' device='disk'>");
            lines.Add("  <driver name='qemu' type='raw' queues='2'/>");
            lines.Add($"  <source type='unix' path='{SecurityElement.Escape(Path.GetFullPath(socket))}'>");
            lines.Add("    <reconnect enabled='yes' timeout='1'/>");
            lines.Add("  </source>");
            lines.Add($"  <target dev='vd{letter++}' bus='virtio'/>");
            lines.Add("</disk>");
        }

        if (sockets.ScsiSocket is not { } scsi)
            return lines;

        // libvirt has no element for a SCSI host of this kind; QEMU's own words go through it.
        lines.Add($"<qemu:commandline xmlns:qemu='{NamespaceOfQemu}'>");
        foreach (var word in new[]
        {
            "-chardev", $"socket,id=vdisk-scsi,path={Full(scsi)}", "-device", "vhost-user-scsi-pci,chardev=vdisk-scsi,num_queues=2",
        })
            lines.Add($"  <qemu:arg value='{SecurityElement.Escape(word)}'/>");
        lines.Add("</qemu:commandline>");
        return lines;
    }

    private static List<string> CloudHypervisor(VhostSockets sockets)
    {
        if (sockets.Blk.Count == 0)
            throw CommandException.Usage("Cloud Hypervisor takes block devices only: give --vhost-user-blk SOCKET=DISK");
        List<string> lines = ["--memory size=2G,shared=on"];
        foreach (var (_, _, socket) in sockets.Blk)
            lines.Add($"--disk vhost_user=true,socket={Path.GetFullPath(socket)},num_queues=2,queue_size=128");
        return lines;
    }

    /// <summary>A path as a value of QEMU's options, in which a comma is written twice.</summary>
    private static string Full(string socket) => Path.GetFullPath(socket).Replace(",", ",,", StringComparison.Ordinal);
}
