using System.CommandLine;
using CowScsi.Vdisk.Output;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk delete`: removes a disk with all its snapshots.</summary>
internal static class DeleteCommand
{
    public static Command Build(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "Disk to delete, with all its snapshots");
        var command = new Command("delete", "Delete a disk that is not in use and that no clone depends on") { name };
        return line.WithAction(command, async invocation =>
        {
            var disk = invocation.Get(name);
            await using var session = await invocation.OpenAsync();
            await session.DeleteDiskAsync(disk, invocation.Stop);
            DiskText.PrintDeleted(invocation, disk);
            return ExitCode.Done;
        });
    }
}
