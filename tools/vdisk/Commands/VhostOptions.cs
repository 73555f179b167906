using System.CommandLine;
using System.CommandLine.Parsing;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Targets;
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

    private readonly Option<VhostRequest[]> scsi = new("--vhost-user")
    {
        Description = "Unix socket that gives a virtual machine all disks that are served, or those of one target, as a SCSI host (vhost-user-scsi); may be given several times",
        HelpName = "SOCKET[=TARGET]",
        CustomParser = ParseScsi,
    };

    private readonly Option<VhostRequest[]> blk = new("--vhost-user-blk")
    {
        Description = "Unix socket that gives a virtual machine one disk, as a block device (vhost-user-blk); may be given several times",
        HelpName = "SOCKET=DISK",
        CustomParser = ParseBlk,
    };

    private readonly Option<bool> client = new("--vhost-user-client")
    {
        Description = "Connect to the sockets, which the virtual machine monitors make, and connect again whenever one is gone",
    };

    private readonly Option<HostProgram?> print = PrintOption();

    /// <summary>--print, for every verb that makes or shows sockets.</summary>
    public static Option<HostProgram?> PrintOption()
    {
        var option = new Option<HostProgram?>("--print")
        {
            Description = "Print what attaches the sockets to a virtual machine: arguments of qemu or cloud-hypervisor, XML of libvirt",
            HelpName = "qemu|libvirt|cloud-hypervisor",
            CustomParser = ParseProgram,
        };
        option.CompletionSources.Add(static _ => Programs.Keys.Select(static name => new System.CommandLine.Completions.CompletionItem(name)));
        return option;
    }

    public void AddTo(Command command)
    {
        command.Options.Add(scsi);
        command.Options.Add(blk);
        command.Options.Add(client);
        command.Options.Add(print);
        command.Validators.Add(result =>
        {
            if (result.GetResult(scsi) is not null || result.GetResult(blk) is not null)
                return;
            if (result.GetResult(print) is not null)
                result.AddError("--print needs a socket: give --vhost-user SOCKET or --vhost-user-blk SOCKET=DISK");
            if (result.GetValue(client))
                result.AddError("--vhost-user-client needs a socket: give --vhost-user SOCKET or --vhost-user-blk SOCKET=DISK");
        });
    }

    public IReadOnlyList<VhostRequest> Read(Invocation invocation)
    {
        var isClient = invocation.Get(client);
        return [.. (invocation.Get(scsi) ?? []).Concat(invocation.Get(blk) ?? []).Select(request => request with { IsClient = isClient })];
    }

    /// <summary>Prints the sockets, and what --print asks for.</summary>
    public void Announce(Invocation invocation, IReadOnlyList<VhostSocketDocument> sockets)
    {
        foreach (var socket in sockets)
        {
            if (!invocation.IsJson)
                invocation.Print(Line(socket));
            else if (socket is { Disk: { } disk, SizeBytes: { } sizeBytes })
                invocation.PrintJson(new ServedAnswer(disk, sizeBytes, $"vhost-user-blk:{socket.Socket}"), DocumentContext.Default.ServedAnswer);
        }

        PrintArguments(invocation, invocation.Get(print), sockets);
    }

    /// <summary>One socket as a line.</summary>
    public static string Line(VhostSocketDocument socket)
    {
        var what = socket is { Disk: { } disk, SizeBytes: { } sizeBytes } ? $"{disk}  {ByteSize.Format(sizeBytes),8}"
            : socket.Target is { } target ? $"disks of {target}" : "all of them";
        return $"{what}  vhost-user-{socket.Kind}:{socket.Socket}";
    }

    public static void PrintArguments(Invocation invocation, HostProgram? program, IReadOnlyList<VhostSocketDocument> sockets)
    {
        if (program is not { } wanted)
            return;
        foreach (var line in HostArguments.For(wanted, sockets))
            invocation.Print(line);
    }

    private static VhostRequest[] ParseScsi(ArgumentResult result) => [.. result.Tokens.Select(static token =>
    {
        // A path may hold an equals sign, and then go on like anything but the name of a target.
        var at = token.Value.LastIndexOf('=');
        return at > 0 && TargetName.Explain(TargetName.Canonical(token.Value[(at + 1)..])) is null
            ? new VhostRequest(token.Value[..at], Target: token.Value[(at + 1)..])
            : new VhostRequest(token.Value);
    })];

    private static VhostRequest[] ParseBlk(ArgumentResult result)
    {
        List<VhostRequest> requests = [];
        foreach (var token in result.Tokens)
        {
            // A path may hold an equals sign; the name of a disk does not.
            var at = token.Value.LastIndexOf('=');
            if (at <= 0 || DiskAddress.ExplainName("disk", token.Value[(at + 1)..]) is not null)
                result.AddError($"'{token.Value}' is not a socket and a disk; write SOCKET=DISK, for example /run/vm1.sock=vm1");
            else
                requests.Add(new VhostRequest(token.Value[..at], token.Value[(at + 1)..]));
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
