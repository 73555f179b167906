using System.CommandLine;
using System.Diagnostics;
using CowScsi.Engine;
using CowScsi.Tcmu;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Serving;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Commands;

/// <summary>
/// `vdisk attach` and `vdisk detach`: disks of the kernel. The server of the store serves them; where none runs, a process is started that
/// stays until the last disk is detached (`vdisk attachments-host`, not shown in the help).
/// </summary>
internal static class AttachCommand
{
    private const string HostName = "attachments-host";

    /// <summary>How long a process that was started may take to open its store: it may have to follow a long log.</summary>
    private static readonly TimeSpan HostLimit = TimeSpan.FromMinutes(2);

    /// <summary>How long a store may be held by a process that does not answer: a server that starts follows its log, one that ends writes it.</summary>
    private static readonly TimeSpan BusyLimit = TimeSpan.FromMinutes(1);

    private static readonly TimeSpan AskInterval = TimeSpan.FromMilliseconds(50);

    public static Command Build(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "Disk to attach");
        var fabric = new Option<string>("--fabric")
        {
            Description = "loopback: a disk of this machine; vhost: of its QEMU guests; iscsi: of the kernel's iSCSI target",
            HelpName = "FABRIC",
            DefaultValueFactory = static _ => KernelAttachments.Loopback,
        };
        fabric.AcceptOnlyFromAmong(KernelAttachments.Loopback, KernelAttachments.Vhost, KernelAttachments.Iscsi);
        var portal = new Option<string?>("--portal") { Description = $"Where the kernel's iSCSI target listens [default: {Portal.Default}]", HelpName = "HOST:PORT" };
        var initiators = new Option<string[]>("--initiator") { Description = "iSCSI name that may log in to the kernel's target; may be given several times [default: all]", HelpName = "IQN" };
        var readOnly = new Option<bool>("--read-only") { Description = "Refuse every write" };
        var ring = new Option<int>("--ring-mib") { Description = "Size of the command ring [default: 8]", HelpName = "MIB", DefaultValueFactory = static _ => TcmuOptions.Default.RingMebibytes };
        var data = new Option<int>("--data-mib") { Description = "Memory for the data of commands under way [default: 128]", HelpName = "MIB", DefaultValueFactory = static _ => TcmuOptions.Default.DataAreaMebibytes };
        var transfer = DiskArguments.SizeOption("--max-transfer", "Largest transfer that the kernel is told of [default: 1MiB]", 4096, 64 << 20);
        var timeout = new Option<int>("--timeout") { Description = "Seconds after which the kernel gives up a command that is not answered; 0 for never [default: 120]", HelpName = "SECONDS", DefaultValueFactory = static _ => TcmuOptions.Default.CommandTimeoutSeconds };
        var replies = new Option<bool>("--netlink-replies") { Description = "Who changes the disk in configfs waits until it is done, and is told where it cannot be" };
        var temporary = new Option<bool>("--temporary") { Description = "Do not bring it back when the machine was started anew" };
        var passphrases = new PassphraseOptions();
        var command = new Command("attach", "Make a disk a SCSI disk of this machine's kernel, and print its path")
        {
            name, fabric, portal, initiators, readOnly, temporary, ring, data, transfer, timeout, replies,
        };
        passphrases.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var disk = invocation.Get(name);
            var request = new AttachRequest
            {
                Fabric = invocation.Get(fabric)!,
                ReadOnly = invocation.Get(readOnly),
                Portal = invocation.Get(portal),
                Initiators = invocation.Get(initiators) ?? [],
                RingMebibytes = invocation.Get(ring),
                DataMebibytes = invocation.Get(data),
                TransferBytes = (int)(invocation.Get(transfer) ?? TcmuOptions.Default.TransferBytesMax),
                TimeoutSeconds = invocation.Get(timeout),
                NetlinkReplies = invocation.Get(replies),
                Temporary = invocation.Get(temporary),
            };
            await using var session = await ReachAsync(invocation, disk);
            using var passphrase = await invocation.UnlockAsync(session, passphrases, disk);
            var attached = await session.AttachAsync(disk, request, passphrase, invocation.Stop);
            Print(invocation, attached);
            return ExitCode.Done;
        });
    }

    public static Command BuildDetach(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "Disk to detach");
        var force = new Option<bool>("--force") { Description = "Also where it is mounted: it is torn out" };
        var command = new Command("detach", "Take a disk from this machine's kernel, and forget that it was attached") { name, force };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await invocation.OpenAsync();
            await session.DetachAsync(invocation.Get(name), invocation.Get(force), invocation.Stop);
            if (invocation.IsJson)
                invocation.PrintJson(new DetachedAnswer(invocation.Get(name)), DocumentContext.Default.DetachedAnswer);
            return ExitCode.Done;
        });
    }

    public static Command BuildHost(CommandLine line)
    {
        var command = new Command(HostName, "Serve disks to the kernel until the last one is detached") { Hidden = true };
        return line.WithAction(command, async invocation =>
        {
            await AttachmentHost.RunAsync(invocation.StoreDirectory, StoreOptions.Default, invocation.Environment.Complain, invocation.Stop);
            return ExitCode.Done;
        });
    }

    private static void Print(Invocation invocation, AttachmentDocument attached)
    {
        if (invocation.IsJson)
        {
            invocation.PrintJson(new AttachmentAnswer(attached), DocumentContext.Default.AttachmentAnswer);
            return;
        }

        invocation.Print(attached.Path ?? attached.Wwn!);
        if (attached.QemuArguments is not null)
            invocation.Print(attached.QemuArguments);
    }

    /// <summary>
    /// The process that has the store open, or one that is started for it. A server that is just starting, or ending, has the store and does
    /// not answer yet, or any more: that is waited for.
    /// </summary>
    private static async Task<IStoreSession> ReachAsync(Invocation invocation, string disk)
    {
        var clock = Stopwatch.StartNew();
        while (true)
        {
            if (await invocation.TryReachServerAsync() is { } session)
                return session;
            try
            {
                if (await TryStartHostAsync(invocation, disk) is { } started)
                    return started;
            }
            catch (StoreException busy) when (busy.Error == StoreError.InUse)
            {
                if (clock.Elapsed > BusyLimit)
                    throw new CommandException(ExitCode.InUse, $"{busy.Message}; it takes no commands, and did not let go within {BusyLimit.TotalSeconds:F0} s: try again when it is done", busy);
            }

            await Task.Delay(AskInterval, invocation.Stop);
        }
    }

    /// <summary>
    /// Starts the process that stays, in a session of its own, so that it survives the terminal; its words go to a file in /run. Null where
    /// another process was faster to open the store.
    /// </summary>
    private static async Task<IStoreSession?> TryStartHostAsync(Invocation invocation, string disk)
    {
        if (!System.Environment.IsPrivilegedProcess)
            throw CommandException.Failed("kernel devices are root's: run it as root");
        // A disk or a store that is not there is told by this process, to its caller.
        string log;
        await using (var here = await invocation.OpenAsync())
        {
            await here.GetDiskAsync(disk, invocation.Stop);
            var store = await here.GetStoreAsync(invocation.Stop);
            log = $"/run/vdisk-attach-{store.Id}.log";
        }

        var directory = Path.GetFullPath(invocation.StoreDirectory);
        var start = new ProcessStartInfo("/bin/sh") { UseShellExecute = false, RedirectStandardInput = true };
        start.ArgumentList.Add("-c");
        // setsid and exec: no shell stays behind, and no terminal can end it.
        start.ArgumentList.Add("exec setsid \"$0\" \"$@\" </dev/null >>\"$VDISK_ATTACH_LOG\" 2>&1");
        start.Environment["VDISK_ATTACH_LOG"] = log;
        start.ArgumentList.Add(System.Environment.ProcessPath!);
        if (Path.GetFileNameWithoutExtension(System.Environment.ProcessPath) == "dotnet")
            start.ArgumentList.Add(System.Environment.GetCommandLineArgs()[0]);
        foreach (var word in (ReadOnlySpan<string>)["--store", directory, HostName])
            start.ArgumentList.Add(word);
        using var host = Process.Start(start) ?? throw CommandException.Failed("cannot start a process that serves the disk");
        var clock = Stopwatch.StartNew();
        while (clock.Elapsed < HostLimit)
        {
            if (await invocation.TryReachServerAsync() is { } session)
                return session;
            if (host.HasExited && host.ExitCode == (int)ExitCode.InUse)
                return null;
            if (host.HasExited)
                throw CommandException.Failed($"the process that serves the disk ended: {LastLine(log)}");
            await Task.Delay(AskInterval, invocation.Stop);
        }

        throw CommandException.Failed($"the process that serves the disk does not answer; see {log}");
    }

    private static string LastLine(string log) => File.Exists(log) ? File.ReadLines(log).LastOrDefault() ?? "it said nothing" : "it said nothing";
}
