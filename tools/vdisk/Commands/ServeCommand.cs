using System.CommandLine;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk serve`: opens disks and lets initiators reach them until it is told to stop.</summary>
internal static class ServeCommand
{
    public static Command Build(CommandLine line)
    {
        var names = new Argument<string[]>("NAME") { Description = "Disks to serve [default: all, and those made meanwhile]", Arity = ArgumentArity.ZeroOrMore };
        names.CompletionSources.Add(context => NameCompletions.Disks(line, context));
        var command = new Command("serve", "Serve disks over iSCSI until Ctrl-C or SIGTERM") { names };
        return line.WithAction(command, _ => Task.FromResult(ExitCode.Failed));
    }
}
