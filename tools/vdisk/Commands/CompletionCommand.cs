using System.CommandLine;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk completion bash|zsh|fish`: prints the shell's completion function.</summary>
internal static class CompletionCommand
{
    private static readonly string[] Shells = ["bash", "zsh", "fish"];

    public static Command Build(CommandLine line)
    {
        var shell = new Argument<string>("SHELL") { Description = "bash, zsh or fish", HelpName = "SHELL" };
        shell.AcceptOnlyFromAmong(Shells);
        var command = new Command("completion", "Print a shell's completion script, for example: source <(vdisk completion bash)") { shell };
        return line.WithAction(command, invocation =>
        {
            invocation.Environment.Out.Write(invocation.Get(shell) switch
            {
                "bash" => Bash,
                "zsh" => Zsh,
                _ => Fish,
            });
            return Task.FromResult(ExitCode.Done);
        });
    }

    /// <summary>
    /// Bash breaks words at '@' and ':'; the words are therefore taken from the line itself, and what bash believes to be already typed
    /// is cut from the answers. Where nothing fits, file names are offered.
    /// </summary>
    private const string Bash = """
        _vdisk() {
            local line="${COMP_LINE:0:COMP_POINT}"
            local -a words
            read -ra words <<<"$line"
            [[ "$line" == *[[:space:]] ]] && words+=("")
            local last="${words[-1]}" cur="${COMP_WORDS[COMP_CWORD]}" candidate
            local typed="${last%"$cur"}"
            [[ "$cur" == "@" || "$cur" == ":" || "$cur" == "=" ]] && typed="$last"
            COMPREPLY=()
            while IFS= read -r candidate; do
                COMPREPLY+=("${candidate#"$typed"}")
            done < <("${words[0]}" complete -- "${words[@]:1}" 2>/dev/null)
        }
        complete -o default -F _vdisk vdisk

        """;

    private const string Zsh = """
        #compdef vdisk
        _vdisk() {
            local -a candidates
            candidates=("${(@f)$("${words[1]}" complete -- "${(@)words[2,CURRENT]}" 2>/dev/null)}")
            if (( ${#candidates} )) && [[ -n "${candidates[1]}" ]]; then
                compadd -a candidates
            else
                _files
            fi
        }
        if [[ "${zsh_eval_context[-1]}" == loadautofunc ]]; then
            _vdisk "$@"
        else
            compdef _vdisk vdisk
        fi

        """;

    private const string Fish = """
        function __vdisk_complete
            set -l words (commandline -opc)
            $words[1] complete -- $words[2..-1] (commandline -ct) 2>/dev/null
        end
        complete -c vdisk -a '(__vdisk_complete)'

        """;
}
