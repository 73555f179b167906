using System.CommandLine;
using CowScsi.Vdisk.Output;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk resize`: changes a disk's capacity.</summary>
internal static class ResizeCommand
{
    public static Command Build(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "Disk to resize");
        var size = DiskArguments.SizeArgument("New capacity, for example 40GiB");
        var shrink = new Option<bool>("--shrink") { Description = "Allow a smaller size: what lies beyond it is lost" };
        var command = new Command("resize", "Change a disk's capacity, also while it is served") { name, size, shrink };
        return line.WithAction(command, async invocation =>
        {
            await using var session = await invocation.OpenAsync();
            var disk = await session.ResizeDiskAsync(invocation.Get(name), invocation.Get(size), invocation.Get(shrink), invocation.Stop);
            DiskText.PrintMade(invocation, "resized", disk);
            return ExitCode.Done;
        });
    }
}
