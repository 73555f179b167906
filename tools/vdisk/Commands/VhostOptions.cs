using System.CommandLine;
using System.CommandLine.Parsing;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>The options of `vdisk serve` for virtual machines.</summary>
internal sealed class VhostOptions
{
    private static readonly Dictionary<string, HostProgram> Programs = new(StringComparer.Ordinal)
    {
        ["qemu"] = HostProgram.Qemu,
        ["libvirt"] = HostProgram.Libvirt,
        ["cloud-hypervisor"] = HostProgram.CloudHypervisor,
    };

    private readonly Option<string?> scsi = new("--vhost-user")
    {
        Description = "Unix socket that gives a virtual machine all disks that are served, as a SCSI host (vhost-user-scsi)",
        HelpName = "SOCKET",
    };

    private readonly Option<VhostBlkRequest[]> blk = new("--vhost-user-blk")
    {
        Description = "Unix socket that gives a virtual machine one disk, as a block device (vhost-user-blk); may be given several times",
        HelpName = "SOCKET=DISK",
        CustomParser = ParseBlk,
    };

    private readonly Option<HostProgram?> print = new("--print")
    {
        Description = "Print what attaches the sockets to a virtual machine: arguments of qemu or cloud-hypervisor, XML of libvirt",
        HelpName = "qemu|libvirt|cloud-hypervisor",
        CustomParser = ParseProgram,
    };

    public void AddTo(Command command)
    {
        print.CompletionSources.Add(static _ => Programs.Keys.Select(static name => new System.CommandLine.Completions.CompletionItem(name)));
        command.Options.Add(scsi);
        command.Options.Add(blk);
        command.Options.Add(print);
        command.Validators.Add(result =>
        {
            if (result.GetResult(print) is not null && result.GetResult(scsi) is null && result.GetResult(blk) is null)
                result.AddError("--print needs a socket: give --vhost-user SOCKET or --vhost-user-blk SOCKET=DISK");
        });
    }

    public VhostRequest Read(Invocation invocation) => new(invocation.Get(scsi), invocation.Get(blk) ?? []);

    /// <summary>Prints the sockets, and what --print asks for.</summary>
    public void Announce(Invocation invocation, VhostSockets? sockets)
    {
        if (sockets is null)
            return;
        foreach (var (disk, sizeBytes, socket) in sockets.Blk)
        {
            if (invocation.IsJson)
                invocation.PrintJson(new ServedAnswer(disk, sizeBytes, $"vhost-user-blk:{socket}"), DocumentContext.Default.ServedAnswer);
            else
                invocation.Print($"{disk}  {ByteSize.Format(sizeBytes),8}  vhost-user-blk:{socket}");
        }

        if (sockets.ScsiSocket is { } scsiSocket && !invocation.IsJson)
            invocation.Print($"all of them  vhost-user-scsi:{scsiSocket}");
        if (invocation.Get(print) is not { } program)
            return;
        foreach (var line in HostArguments.For(program, sockets))
            invocation.Print(line);
    }

    private static VhostBlkRequest[] ParseBlk(ArgumentResult result)
    {
        List<VhostBlkRequest> requests = [];
        foreach (var token in result.Tokens)
        {
            // A path may hold an equals sign; the name of a disk does not.
            var at = token.Value.LastIndexOf('=');
            if (at <= 0 || DiskAddress.ExplainName("disk", token.Value[(at + 1)..]) is not null)
                result.AddError($"'{token.Value}' is not a socket and a disk; write SOCKET=DISK, for example /run/vm1.sock=vm1");
            else
                requests.Add(new VhostBlkRequest(token.Value[..at], token.Value[(at + 1)..]));
        }

        return [.. requests];
    }

    private static HostProgram? ParseProgram(ArgumentResult result)
    {
        var word = result.Tokens[0].Value;
        if (Programs.TryGetValue(word, out var program))
            return program;
        result.AddError($"'{word}' is none of {string.Join(", ", Programs.Keys)}");
        return null;
    }
}
