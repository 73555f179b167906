using System.CommandLine;
using System.CommandLine.Help;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Commands;

/// <summary>The grammar of the command line: what all verbs share, and the list of them.</summary>
internal sealed class CommandLine
{
    /// <summary>'@' begins no response file here, it stands in names; and there are no one-letter switches to bundle.</summary>
    public static readonly ParserConfiguration Grammar = new() { ResponseFileTokenReplacer = null, EnablePosixBundling = false };

    private const string DefaultStore = "./vdisk.store";
    private const string StoreVariable = "VDISK_STORE";

    private readonly Option<string?> store = new("--store")
    {
        Description = $"Directory of the store [default: {DefaultStore}] [env: {StoreVariable}]",
        HelpName = "DIR",
        Recursive = true,
    };

    private readonly Option<bool> json = new("--json") { Description = "Print JSON (see the \"version\" field)", Recursive = true };

    public CommandLine(CliEnvironment environment)
    {
        Environment = environment;
        Root = new RootCommand("vdisk: copy-on-write virtual disks over iSCSI") { HelpName = "vdisk" };
        for (var i = 0; i < Root.Options.Count; i++)
        {
            if (Root.Options[i] is HelpOption)
                Root.Options[i] = new HelpOption("--help", "-h") { Action = new HelpWithExitCodes() };
        }

        Root.Add(store);
        Root.Add(json);
        Root.Add(InitCommand.Build(this));
        Root.Add(CreateCommand.Build(this));
        Root.Add(ImportCommand.Build(this));
        Root.Add(ExportCommand.Build(this));
        Root.Add(ListCommand.Build(this));
        Root.Add(TreeCommand.Build(this));
        Root.Add(InfoCommand.Build(this));
        Root.Add(SnapshotCommand.Build(this));
        Root.Add(CloneCommand.Build(this));
        Root.Add(DeleteCommand.Build(this));
        Root.Add(ResizeCommand.Build(this));
        Root.Add(DiffCommand.Build(this));
        Root.Add(ServeCommand.Build(this));
        Root.Add(TargetCommand.Build(this));
        Root.Add(VhostCommand.Build(this));
        Root.Add(AttachCommand.Build(this));
        Root.Add(AttachCommand.BuildDetach(this));
        Root.Add(AttachCommand.BuildHost(this));
        Root.Add(DoctorCommand.Build(this));
        Root.Add(CheckCommand.Build(this));
        Root.Add(ScrubCommand.Build(this));
        Root.Add(InspectCommand.Build(this));
        Root.Add(CompletionCommand.Build(this));
        Root.Add(CompleteCommand.Build(this));
    }

    public CliEnvironment Environment { get; }

    public RootCommand Root { get; }

    /// <summary>Sets what a verb does.</summary>
    public Command WithAction(Command command, Func<Invocation, Task<ExitCode>> action)
    {
        command.SetAction(async (arguments, _) => (int)await action(new Invocation(this, arguments)));
        return command;
    }

    public string StoreDirectory(ParseResult arguments) => arguments.GetValue(store) is { Length: > 0 } given
        ? given
        : Environment.Variable(StoreVariable) is { Length: > 0 } variable ? variable : DefaultStore;

    public bool IsJson(ParseResult arguments) => arguments.GetValue(json);

    public ParseResult Parse(IReadOnlyList<string> words) =>
        Root.Parse(WithExplicitCipher(words), Grammar);

    /// <summary>
    /// `--encrypt` takes a cipher or nothing. The parser would take whatever word comes next for the cipher, the disk's name as well; so
    /// where no cipher follows, the default one is written out.
    /// </summary>
    private static List<string> WithExplicitCipher(IReadOnlyList<string> words)
    {
        var explicitWords = new List<string>(words);
        for (var i = 0; i < explicitWords.Count && explicitWords[i] != "--"; i++)
        {
            var hasCipher = i + 1 < explicitWords.Count && Array.IndexOf(CodecNames.Encryptions, explicitWords[i + 1]) >= 0;
            if (explicitWords[i] == DiskOptions.EncryptName && !hasCipher)
                explicitWords[i] = $"{DiskOptions.EncryptName}={CodecNames.XtsAes256}";
        }

        return explicitWords;
    }

    /// <summary>The usual help, and under the program's own the exit codes.</summary>
    private sealed class HelpWithExitCodes : System.CommandLine.Invocation.SynchronousCommandLineAction
    {
        private readonly HelpAction usual = new();

        public override bool ClearsParseErrors => true;

        public override int Invoke(ParseResult parseResult)
        {
            usual.Invoke(parseResult);
            var output = parseResult.InvocationConfiguration.Output;
            if (parseResult.CommandResult.Command is RootCommand)
            {
                output.WriteLine("Exit codes:");
                foreach (var (code, meaning) in ExitCodes.Meanings)
                    output.WriteLine($"  {(int)code,-4} {meaning}");
                output.WriteLine();
            }
            else if (parseResult.CommandResult.Command.Name == CheckCommand.Name)
            {
                output.WriteLine("Exit codes:");
                foreach (var (code, meaning) in ExitCodes.CheckMeanings)
                    output.WriteLine($"  {(int)code,-4} {meaning}");
                output.WriteLine();
            }

            return (int)ExitCode.Done;
        }
    }
}
