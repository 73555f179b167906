using System.Security;
using CowScsi.Vdisk.Documents;

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

    public static IReadOnlyList<string> For(HostProgram program, IReadOnlyList<VhostSocketDocument> sockets) => program switch
    {
        HostProgram.Qemu => Qemu(sockets),
        HostProgram.Libvirt => Libvirt(sockets),
        _ => CloudHypervisor(sockets),
    };

    private static List<string> Qemu(IReadOnlyList<VhostSocketDocument> sockets)
    {
        List<string> lines =
        [
            "-m 2G",
            "-object memory-backend-memfd,id=vdisk-memory,size=2G,share=on",
            "-machine memory-backend=vdisk-memory",
        ];
        for (var i = 0; i < sockets.Count; i++)
            lines.AddRange(QemuDevice(sockets[i], i).Select(static option => $"{option.Name} {Quoted(option.Value)}"));
        return lines;
    }

    private static IEnumerable<(string Name, string Value)> QemuDevice(VhostSocketDocument socket, int number)
    {
        // A monitor that makes the socket waits there for the server. A SCSI host is not connected again before QEMU 8.2.
        var manner = socket.Client ? ",server=on" : socket.Kind == VhostSocketDocument.Blk ? ",reconnect=1" : "";
        yield return ("-chardev", $"socket,id=vdisk{number},path={Full(socket.Socket)}{manner}");
        yield return ("-device", socket.Kind == VhostSocketDocument.Blk
            ? $"vhost-user-blk-pci,chardev=vdisk{number},num-queues=2"
            : $"vhost-user-scsi-pci,chardev=vdisk{number},num_queues=2");
    }

    private static List<string> Libvirt(IReadOnlyList<VhostSocketDocument> sockets)
    {
        List<string> lines =
        [
            "<memoryBacking>",
            "  <source type='memfd'/>",
            "  <access mode='shared'/>",
            "</memoryBacking>",
            "<devices>",
        ];
        List<string> arguments = [];
        var letter = 'a';
        for (var i = 0; i < sockets.Count; i++)
        {
            var socket = sockets[i];
            if (socket.Kind == VhostSocketDocument.Scsi || socket.Client)
            {
                // libvirt has no element for a SCSI host of this kind, nor for a disk's socket that it makes: QEMU's own words go through it.
                foreach (var (name, value) in QemuDevice(socket, i))
                    arguments.AddRange([$"  <qemu:arg value='{name}'/>", $"  <qemu:arg value='{SecurityElement.Escape(value)}'/>"]);
                continue;
            }

            lines.Add("  <disk type='vhostuser' device='disk'>");
            lines.Add("    <driver name='qemu' type='raw' queues='2'/>");
            lines.Add($"    <source type='unix' path='{SecurityElement.Escape(Path.GetFullPath(socket.Socket))}'>");
            lines.Add("      <reconnect enabled='yes' timeout='1'/>");
            lines.Add("    </source>");
            lines.Add($"    <target dev='vd{letter++}' bus='virtio'/>");
            lines.Add("  </disk>");
        }

        lines.Add("</devices>");
        return arguments.Count == 0 ? lines : [.. lines, $"<qemu:commandline xmlns:qemu='{NamespaceOfQemu}'>", .. arguments, "</qemu:commandline>"];
    }

    private static List<string> CloudHypervisor(IReadOnlyList<VhostSocketDocument> sockets)
    {
        var disks = sockets.Where(static socket => socket is { Kind: VhostSocketDocument.Blk, Client: false }).ToList();
        if (disks.Count == 0)
            throw CommandException.Usage("Cloud Hypervisor takes block devices only, and connects to their sockets: give --vhost-user-blk SOCKET=DISK");
        return ["--memory size=2G,shared=on", .. disks.Select(static disk => $"--disk {Quoted($"vhost_user=true,socket={Path.GetFullPath(disk.Socket)},num_queues=2,queue_size=128")}")];
    }

    /// <summary>A word as a shell takes it: in quotes where it holds what means something there.</summary>
    private static string Quoted(string word) =>
        word.All(static letter => char.IsAsciiLetterOrDigit(letter) || "_./,=:@%+-".Contains(letter, StringComparison.Ordinal))
            ? word
            : $"'{word.Replace("'", "'\\''", StringComparison.Ordinal)}'";

    /// <summary>A path as a value of QEMU's options, in which a comma is written twice.</summary>
    private static string Full(string socket) => Path.GetFullPath(socket).Replace(",", ",,", StringComparison.Ordinal);
}
