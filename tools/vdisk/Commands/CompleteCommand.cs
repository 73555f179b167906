using System.CommandLine;

namespace CowScsi.Vdisk.Commands;

/// <summary>
/// `vdisk complete -- WORD...`: what the shells' completion functions ask. The words are those of the command line so far, without
/// "vdisk"; the last is the one to complete and may be empty.
/// </summary>
internal static class CompleteCommand
{
    public static Command Build(CommandLine line)
    {
        var words = new Argument<string[]>("WORD") { Arity = ArgumentArity.ZeroOrMore };
        var command = new Command("complete", "Print completions") { words };
        command.Hidden = true;
        return line.WithAction(command, invocation =>
        {
            var typed = invocation.Get(words);
            var last = typed.Length == 0 ? "" : typed[^1];
            foreach (var item in line.Parse(typed.Length == 0 ? [""] : typed).GetCompletions())
            {
                var text = item.InsertText ?? item.Label;
                // The command itself is nothing to offer, nor are the spellings of other systems for --help.
                if (text.StartsWith(last, StringComparison.Ordinal) && (last.Length > 0 || !text.StartsWith('-')))
                    invocation.Print(text);
            }

            return Task.FromResult(ExitCode.Done);
        });
    }
}
