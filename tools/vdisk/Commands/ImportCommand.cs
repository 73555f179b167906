using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk import`: makes a disk of an image's contents.</summary>
internal static class ImportCommand
{
    public static Command Build(CommandLine line)
    {
        var file = new Argument<string>("FILE") { Description = "Raw or qcow2 image; - reads a raw one from standard input" };
        var name = DiskArguments.NewDisk();
        var size = DiskArguments.SizeOption("--size", "Make the disk larger than the image");
        var format = new Option<string?>("--format") { Description = "Format of the image: raw or qcow2 [default: told by its first bytes]", HelpName = "FORMAT" };
        format.CompletionSources.Add(CodecNames.BaseFormats);
        format.Validators.Add(static result => DiskOptions.RequireOneOf(result, CodecNames.BaseFormats));
        var options = new DiskOptions();
        var command = new Command("import", "Make a disk of an image's contents") { file, name, size, format };
        options.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var request = options.ToRequest(invocation, invocation.Get(name), invocation.Get(size) ?? 0);
            var path = invocation.Get(file);
            if (path == "-" && options.Passphrase.UsesStandardInput(invocation.Arguments))
                throw CommandException.Usage("standard input cannot give both the image and the passphrase");
            await using var session = await invocation.OpenAsync();
            await using var source = ImportSources.Open(path, invocation.Get(format), invocation.Environment);
            using var passphrase = await options.GetPassphraseAsync(invocation, request);
            var disk = await TransferProgress.RunAsync(
                invocation.Environment,
                $"importing {request.Name}",
                source.SizeBytes,
                () => source.PositionBytes,
                () => session.ImportAsync(request, passphrase, source, invocation.Stop).AsTask());
            DiskText.PrintMade(invocation, "imported", disk);
            return ExitCode.Done;
        });
    }
}
