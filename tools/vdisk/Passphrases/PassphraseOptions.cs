using System.CommandLine;
using System.CommandLine.Parsing;
using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;

namespace CowScsi.Vdisk.Passphrases;

/// <summary>
/// Where a passphrase comes from: a file, a descriptor, a command, the file that an environment variable names, or a prompt. Never the
/// command line itself, which every user of the machine can read.
/// </summary>
internal sealed class PassphraseOptions
{
    private const string FileVariable = "VDISK_PASSPHRASE_FILE";

    private readonly Option<string?> file = new("--passphrase-file")
    {
        Description = $"Read the passphrase from a file (one trailing newline is dropped) [env: {FileVariable}]",
        HelpName = "FILE",
    };

    private readonly Option<int?> descriptor = new("--passphrase-fd")
    {
        Description = "Read the passphrase from an open file descriptor",
        HelpName = "N",
    };

    private readonly Option<string?> command = new("--passphrase-command")
    {
        Description = "Read the passphrase from what a shell command prints",
        HelpName = "CMD",
    };

    public void AddTo(Command verb)
    {
        verb.Add(file);
        verb.Add(descriptor);
        verb.Add(command);
        verb.Validators.Add(Validate);
    }

    /// <summary>True where options or environment name a source, so that nobody need be asked.</summary>
    public bool IsGiven(ParseResult arguments, CliEnvironment environment) =>
        IsOptionGiven(arguments) || environment.Variable(FileVariable) is { Length: > 0 };

    public bool IsOptionGiven(ParseResult arguments) =>
        arguments.GetValue(file) is not null || arguments.GetValue(descriptor) is not null || arguments.GetValue(command) is not null;

    /// <summary>True where the passphrase arrives on standard input, which then has nothing else to offer.</summary>
    public bool UsesStandardInput(ParseResult arguments) => arguments.GetValue(descriptor) == 0;

    /// <summary>The passphrase of a disk; asks where no source was named and a person is there.</summary>
    /// <param name="isNew">True where a disk is made: a prompt then asks twice.</param>
    public async ValueTask<Passphrase> GetAsync(ParseResult arguments, CliEnvironment environment, string disk, bool isNew)
    {
        // Files may be pipes, commands may wait and people think: none of them notices a cancellation, so the waiting is left behind.
        return await Task.Run(() => Get(arguments, environment, disk, isNew), CancellationToken.None).WaitAsync(environment.Stop);
    }

    private Passphrase Get(ParseResult arguments, CliEnvironment environment, string disk, bool isNew)
    {
        if (arguments.GetValue(file) is { } path)
            return FromFile(path);
        if (arguments.GetValue(descriptor) is { } number)
            return FromDescriptor(number);
        if (arguments.GetValue(command) is { } shellCommand)
            return FromCommand(shellCommand);
        if (environment.Variable(FileVariable) is { Length: > 0 } variablePath)
            return FromFile(variablePath);
        if (!environment.CanPrompt)
        {
            throw new CommandException(
                ExitCode.Key,
                $"disk '{disk}' is encrypted and needs a passphrase; give --passphrase-file, --passphrase-fd or --passphrase-command");
        }

        return Prompt(environment, disk, isNew);
    }

    private static Passphrase FromFile(string path)
    {
        try
        {
            using var stream = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            return Passphrase.Read(stream);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.Key, $"cannot read the passphrase file '{path}': {error.Message}", error);
        }
    }

    private static Passphrase FromDescriptor(int number)
    {
        try
        {
            using var stream = CliEnvironment.OpenDescriptor(number, FileAccess.Read);
            return Passphrase.Read(stream);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new CommandException(ExitCode.Key, $"cannot read the passphrase from descriptor {number}: {error.Message}", error);
        }
    }

    private static Passphrase FromCommand(string shellCommand)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true, UseShellExecute = false };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(shellCommand);
        try
        {
            using var process = Process.Start(start) ?? throw new CommandException(ExitCode.Key, "cannot start the passphrase command");
            Passphrase? passphrase = null;
            CommandException? refusal = null;
            try
            {
                passphrase = Passphrase.Read(process.StandardOutput.BaseStream);
            }
            catch (CommandException error)
            {
                refusal = error;
            }

            // What the command says of itself counts more than what it printed.
            process.StandardOutput.Close();
            process.WaitForExit();
            if (process.ExitCode == 0 && passphrase is not null)
                return passphrase;
            passphrase?.Dispose();
            throw process.ExitCode == 0
                ? refusal!
                : new CommandException(ExitCode.Key, $"the passphrase command failed with status {process.ExitCode}", refusal);
        }
        catch (Exception error) when (error is Win32Exception or IOException)
        {
            throw new CommandException(ExitCode.Key, $"cannot run the passphrase command: {error.Message}", error);
        }
    }

    private static Passphrase Prompt(CliEnvironment environment, string disk, bool isNew)
    {
        var first = ReadHidden(environment, $"Passphrase for '{disk}': ");
        if (!isNew)
            return first;
        using var second = ReadHidden(environment, "Once more: ");
        if (first.Bytes.SequenceEqual(second.Bytes))
            return first;
        first.Dispose();
        throw new CommandException(ExitCode.Key, "the two passphrases differ");
    }

    private static Passphrase ReadHidden(CliEnvironment environment, string prompt)
    {
        const int standardInput = 0;
        using var hidden = TerminalEcho.Off(standardInput);
        // An interruption leaves this thread waiting for a line that never comes; the terminal must be itself again all the same.
        using var interruption = environment.Stop.Register(hidden.Dispose);
        environment.Error.Write(prompt);
        environment.Error.Flush();
        var typed = GC.AllocateArray<byte>(Passphrase.BytesMax + 1, pinned: true);
        try
        {
            using var input = environment.OpenInput();
            var length = 0;
            while (length < typed.Length && !typed.AsSpan(0, length).Contains((byte)'\n'))
            {
                var count = input.Read(typed, length, typed.Length - length);
                if (count == 0)
                    break;
                length += count;
            }

            environment.Error.WriteLine();
            return Passphrase.FromText(typed.AsSpan(0, length));
        }
        finally
        {
            CryptographicOperations.ZeroMemory(typed);
        }
    }

    private void Validate(CommandResult result)
    {
        var given = (result.GetResult(file) is null ? 0 : 1) + (result.GetResult(descriptor) is null ? 0 : 1) +
            (result.GetResult(command) is null ? 0 : 1);
        if (given > 1)
            result.AddError("give only one of --passphrase-file, --passphrase-fd and --passphrase-command");
    }
}
