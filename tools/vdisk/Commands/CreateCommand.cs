using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Transfer;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk create`: makes a disk, empty or over a base image.</summary>
internal static class CreateCommand
{
    public static Command Build(CommandLine line)
    {
        var name = DiskArguments.NewDisk();
        var size = DiskArguments.SizeOption("--size", "Capacity, for example 20GiB [default: that of the base image]");
        var baseFile = new Option<string?>("--base") { Description = "Raw or qcow2 image that lies under the disk and is never written", HelpName = "FILE" };
        var baseFormat = new Option<string?>("--base-format") { Description = "Format of the base image: raw or qcow2 [default: told by its first bytes]", HelpName = "FORMAT" };
        baseFormat.CompletionSources.Add(CodecNames.BaseFormats);
        baseFormat.Validators.Add(static result => DiskOptions.RequireOneOf(result, CodecNames.BaseFormats));
        var options = new DiskOptions();
        var command = new Command("create", "Make a disk") { name, size, baseFile, baseFormat };
        options.AddTo(command);
        command.Validators.Add(result =>
        {
            if (result.GetResult(size) is null && result.GetResult(baseFile) is null)
                result.AddError("give --size, or a --base image to take the size from");
            if (result.GetResult(baseFormat) is not null && result.GetResult(baseFile) is null)
                result.AddError("--base-format says something of a --base image, and there is none");
        });
        return line.WithAction(command, async invocation =>
        {
            var request = options.ToRequest(invocation, invocation.Get(name), invocation.Get(size) ?? 0) with
            {
                Base = ToBase(invocation.Get(baseFile), invocation.Get(baseFormat)),
            };
            await using var session = await invocation.OpenAsync();
            using var passphrase = await options.GetPassphraseAsync(invocation, request);
            DiskText.PrintMade(invocation, "created", await session.CreateDiskAsync(request, passphrase, invocation.Stop));
            return ExitCode.Done;
        });
    }

    private static BaseDocument? ToBase(string? file, string? format)
    {
        if (file is null)
            return null;
        var reference = ImageProbe.Refer(file, format);
        return new BaseDocument(reference.Path, CodecNames.Of(reference.Format));
    }
}
