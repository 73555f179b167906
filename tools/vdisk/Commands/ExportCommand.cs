using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Text;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk export`: writes a disk's contents to a raw file.</summary>
internal static class ExportCommand
{
    public static Command Build(CommandLine line)
    {
        var from = DiskArguments.DiskOrSnapshot(line, "NAME[@SNAP]", "Disk or snapshot to read");
        var file = new Argument<string>("FILE") { Description = "Raw image to write, sparse where the disk is; - writes to standard output" };
        var options = new PassphraseOptions();
        var command = new Command("export", "Write a disk's contents to a raw image") { from, file };
        options.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var address = invocation.Get(from);
            var path = invocation.Get(file);
            await using var session = await invocation.OpenAsync();
            // A target that cannot be written is told before anybody is asked for a passphrase.
            await using var sink = new CountingSink(ExportSinks.Open(path, invocation.Environment));
            using var passphrase = await invocation.UnlockAsync(session, options, address.Disk);
            await TransferProgress.RunAsync(
                invocation.Environment,
                $"exporting {address}",
                sink.SizeBytesSource,
                () => sink.PositionBytes,
                async () =>
                {
                    await session.ExportAsync(address, passphrase, sink, invocation.Stop);
                    return true;
                });
            Report(invocation, address, path, sink);
            return ExitCode.Done;
        });
    }

    private static void Report(Invocation invocation, DiskAddress address, string path, CountingSink sink)
    {
        if (path == "-")
            return; // Standard output carries the disk, and nothing else.
        var document = new ExportDocument(address.ToString(), path, sink.SizeBytes, sink.DataBytes);
        if (invocation.IsJson)
            invocation.PrintJson(new ExportAnswer(document), DocumentContext.Default.ExportAnswer);
        else
            invocation.Print($"exported {address} to {path}: {ByteSize.Format(sink.SizeBytes)}, {ByteSize.Format(sink.DataBytes)} of data");
    }
}
