using System.CommandLine;
using System.Runtime.InteropServices;
using System.Text.Json;
using CowScsi.Engine;
using CowScsi.Vdisk.Commands;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk;

/// <summary>The process: signals become one cancellation, every failure becomes one line and an exit code.</summary>
internal static class Program
{
    private static async Task<int> Main(string[] arguments)
    {
        using var stop = new CancellationTokenSource();
        // The first signal asks for an orderly end; further ones are no reason to leave half-made things behind.
        void OnSignal(PosixSignalContext context)
        {
            context.Cancel = true;
            stop.Cancel();
        }

        using var interrupt = PosixSignalRegistration.Create(PosixSignal.SIGINT, OnSignal);
        using var terminate = PosixSignalRegistration.Create(PosixSignal.SIGTERM, OnSignal);
        using var hangUp = PosixSignalRegistration.Create(PosixSignal.SIGHUP, OnSignal);
        return await RunAsync(arguments, CliEnvironment.OfProcess(stop.Token));
    }

    /// <summary>Runs one command line; never throws.</summary>
    internal static async Task<int> RunAsync(string[] arguments, CliEnvironment environment)
    {
        try
        {
            var code = await InvokeAsync(arguments, environment);
            await environment.Out.FlushAsync(CancellationToken.None);
            return code;
        }
        catch (Exception error)
        {
            return (int)Explain(error, environment);
        }
    }

    private static async Task<int> InvokeAsync(string[] arguments, CliEnvironment environment)
    {
        var line = new CommandLine(environment);
        var parsed = line.Parse(arguments);
        // Help and version clear the errors that would stand in their way.
        if (parsed.Errors.Count > 0 && parsed.Action is not System.CommandLine.Invocation.CommandLineAction { ClearsParseErrors: true })
        {
            if (arguments.Length == 0)
            {
                line.Parse(["--help"]).Invoke(new InvocationConfiguration { Output = environment.Error, EnableDefaultExceptionHandler = false });
                return (int)ExitCode.Usage;
            }

            // `check` has codes of its own: there 2 says that the store is damaged.
            var isCheck = parsed.CommandResult.Command.Name == CheckCommand.Name;
            throw isCheck ? CommandException.Failed(FirstError(parsed)) : CommandException.Usage(FirstError(parsed));
        }

        var configuration = new InvocationConfiguration
        {
            Output = environment.Out,
            Error = environment.Error,
            EnableDefaultExceptionHandler = false,
            ProcessTerminationTimeout = null,
        };
        return await parsed.InvokeAsync(configuration, CancellationToken.None);
    }

    private static string FirstError(ParseResult parsed)
    {
        var command = parsed.CommandResult.Command;
        if (command.Subcommands.Count == 0)
            return parsed.Errors[0].Message + SeeHelp(parsed);
        var verbs = command.Subcommands.Where(known => !known.Hidden).Select(known => known.Name).ToList();
        if (parsed.UnmatchedTokens.Count == 0)
            return $"a command is needed: {string.Join(", ", verbs)}{SeeHelp(parsed)}";
        var word = parsed.UnmatchedTokens[0];
        var near = Suggestion.Nearest(word, verbs);
        return $"there is no command '{DiskAddress.Printable(word)}'" + (near is null ? SeeHelp(parsed) : $"; did you mean '{near}'?");
    }

    private static string SeeHelp(ParseResult parsed)
    {
        var path = "";
        for (System.CommandLine.Parsing.SymbolResult? result = parsed.CommandResult; result is System.CommandLine.Parsing.CommandResult command; result = result.Parent)
            path = command.Command is RootCommand ? path : $" {command.Command.Name}{path}";
        return $" (see vdisk{path} --help)";
    }

    private static ExitCode Explain(Exception error, CliEnvironment environment)
    {
        var (code, message) = error switch
        {
            CommandException refusal => (refusal.Code, refusal.Message),
            StoreException refusal => (ExitCodes.From(refusal.Error), refusal.Message),
            OperationCanceledException when environment.Stop.IsCancellationRequested => (ExitCode.Interrupted, "interrupted"),
            FileNotFoundException or DirectoryNotFoundException => (ExitCode.NotFound, error.Message),
            IOException or UnauthorizedAccessException => (ExitCode.Failed, error.Message),
            JsonException => (ExitCode.Failed, "an answer cannot be read: " + error.Message),
            _ => (ExitCode.Failed, $"unexpected {error.GetType().Name}: {error.Message} (VDISK_DEBUG=1 shows where)"),
        };
        environment.Complain(message);
        if (environment.IsDebug)
            environment.Error.WriteLine(error);
        return code;
    }
}
