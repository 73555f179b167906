using System.CommandLine;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk clone`: a disk that begins as a snapshot.</summary>
internal static class CloneCommand
{
    public static Command Build(CommandLine line)
    {
        var from = DiskArguments.Snapshot(line, "Snapshot that the clone begins as");
        var name = DiskArguments.NewDisk("NEW");
        var options = new PassphraseOptions();
        var command = new Command("clone", "Make a disk of a snapshot, in constant time") { from, name };
        options.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var origin = invocation.Get(from);
            await using var session = await invocation.OpenAsync();
            // A clone has its origin's key; only a server that is to serve it at once, and has not loaded that key, needs the passphrase.
            using var passphrase = options.IsOptionGiven(invocation.Arguments)
                ? await invocation.UnlockAsync(session, options, origin.Disk)
                : null;
            var clone = await session.CloneAsync(origin.Disk, origin.Snapshot!, invocation.Get(name), passphrase, invocation.Stop);
            DiskText.PrintMade(invocation, "cloned", clone);
            return ExitCode.Done;
        });
    }
}
