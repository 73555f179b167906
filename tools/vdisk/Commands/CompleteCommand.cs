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
            foreach (var candidate in Complete(line, typed.Length == 0 ? [""] : typed))
                invocation.Print(candidate);
            return Task.FromResult(ExitCode.Done);
        });
    }

    private static IEnumerable<string> Complete(CommandLine line, string[] typed)
    {
        // The parser completes the value of "--option value" but not of "--option=value": it is asked about the former.
        var separate = typed.SelectMany(SplitAtEquals).ToList();
        var last = separate[^1];
        var prefix = typed[^1][..^last.Length];
        var text = string.Join(' ', separate.Select(static word => word.Contains(' ', StringComparison.Ordinal) ? $"\"{word}\"" : word));
        return line.Root.Parse(text, CommandLine.Grammar).GetCompletions(text.Length)
            .Select(static item => item.InsertText ?? item.Label)
            // Options are offered where one is begun: a list of names is not to drown in them.
            .Where(candidate => candidate.StartsWith(last, StringComparison.Ordinal) && (last.Length > 0 || !candidate.StartsWith('-')))
            .Select(candidate => prefix + candidate);
    }

    private static string[] SplitAtEquals(string word)
    {
        var equals = word.StartsWith("--", StringComparison.Ordinal) ? word.IndexOf('=', StringComparison.Ordinal) : -1;
        return equals < 0 ? [word] : [word[..equals], word[(equals + 1)..]];
    }
}
