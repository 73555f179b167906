using System.CommandLine;
using System.CommandLine.Parsing;
using System.ComponentModel;
using System.Diagnostics;
using System.Security.Cryptography;

namespace CowScsi.Vdisk.Passphrases;

/// <summary>
/// Where a passphrase, or the secret of a user, comes from: a file, a descriptor, a command, the file that an environment variable names, or a prompt. Never the
/// command line itself, which every user of the machine can read.
/// </summary>
internal sealed class PassphraseOptions
{
    private const string StandardInputName = "-";

    private readonly string word;
    private readonly string? fileVariable;
    private readonly Option<string?> file;
    private readonly Option<int?> descriptor;
    private readonly Option<string?> command;

    /// <summary>Of a disk's passphrase.</summary>
    public PassphraseOptions()
        : this("passphrase", "VDISK_PASSPHRASE_FILE")
    {
    }

    /// <param name="word">What it is called, and what the options begin with.</param>
    /// <param name="fileVariable">An environment variable that may name its file; null for none.</param>
    public PassphraseOptions(string word, string? fileVariable)
    {
        this.word = word;
        this.fileVariable = fileVariable;
        file = new Option<string?>($"--{word}-file")
        {
            Description = $"Read the {word} from a file, or '-' for standard input (one trailing newline is dropped)"
                + (fileVariable is null ? "" : $" [env: {fileVariable}]"),
            HelpName = "FILE",
        };
        descriptor = new Option<int?>($"--{word}-fd") { Description = $"Read the {word} from an open file descriptor", HelpName = "N" };
        command = new Option<string?>($"--{word}-command") { Description = $"Read the {word} from what a shell command prints", HelpName = "CMD" };
    }

    public void AddTo(Command verb)
    {
        verb.Add(file);
        verb.Add(descriptor);
        verb.Add(command);
        verb.Validators.Add(Validate);
    }

    /// <summary>True where options or environment name a source, so that nobody need be asked.</summary>
    public bool IsGiven(ParseResult arguments, CliEnvironment environment) =>
        IsOptionGiven(arguments) || VariableFile(environment) is not null;

    public bool IsOptionGiven(ParseResult arguments) =>
        arguments.GetValue(file) is not null || arguments.GetValue(descriptor) is not null || arguments.GetValue(command) is not null;

    /// <summary>True where the passphrase arrives on standard input, which then has nothing else to offer.</summary>
    public bool UsesStandardInput(ParseResult arguments) =>
        arguments.GetValue(descriptor) == 0 || arguments.GetValue(file) == StandardInputName;

    /// <summary>The passphrase of a disk; asks where no source was named and a person is there.</summary>
    /// <param name="isNew">True where a disk is made: a prompt then asks twice.</param>
    public ValueTask<Passphrase> GetAsync(ParseResult arguments, CliEnvironment environment, string disk, bool isNew) =>
        GetAsync(arguments, environment, disk, $"disk '{disk}' is encrypted and needs a passphrase", isNew);

    /// <param name="subject">Whose it is, for the prompt.</param>
    /// <param name="need">Why it is needed, where there is no source and nobody to ask.</param>
    public async ValueTask<Passphrase> GetAsync(ParseResult arguments, CliEnvironment environment, string subject, string need, bool isNew)
    {
        // Files may be pipes, commands may wait and people think: none of them notices a cancellation, so the waiting is left behind.
        return await Task.Run(() => Get(arguments, environment, subject, need, isNew), CancellationToken.None).WaitAsync(environment.Stop);
    }

    private Passphrase Get(ParseResult arguments, CliEnvironment environment, string subject, string need, bool isNew)
    {
        if (arguments.GetValue(file) is { } path)
            return FromFile(path, environment);
        if (arguments.GetValue(descriptor) is { } number)
            return FromDescriptor(number);
        if (arguments.GetValue(command) is { } shellCommand)
            return FromCommand(shellCommand);
        if (VariableFile(environment) is { } variablePath)
            return FromFile(variablePath, environment);
        return environment.CanPrompt
            ? Prompt(environment, subject, isNew)
            : throw new CommandException(ExitCode.Key, $"{need}; give {file.Name}, {descriptor.Name} or {command.Name}");
    }

    private string? VariableFile(CliEnvironment environment) =>
        fileVariable is not null && environment.Variable(fileVariable) is { Length: > 0 } path ? path : null;

    private Passphrase FromFile(string path, CliEnvironment environment)
    {
        try
        {
            using var stream = path == StandardInputName
                ? environment.OpenInput()
                : new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.Read, bufferSize: 0);
            return Read(stream);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException)
        {
            throw new CommandException(ExitCode.Key, $"cannot read the {word} file '{path}': {error.Message}", error);
        }
    }

    private Passphrase FromDescriptor(int number)
    {
        try
        {
            using var stream = CliEnvironment.OpenDescriptor(number, FileAccess.Read);
            return Read(stream);
        }
        catch (Exception error) when (error is IOException or UnauthorizedAccessException or ArgumentException or NotSupportedException)
        {
            throw new CommandException(ExitCode.Key, $"cannot read the {word} from descriptor {number}: {error.Message}", error);
        }
    }

    private Passphrase Read(Stream stream) => Passphrase.Read(stream, word);

    private Passphrase FromCommand(string shellCommand)
    {
        var start = new ProcessStartInfo("/bin/sh") { RedirectStandardOutput = true, UseShellExecute = false };
        start.ArgumentList.Add("-c");
        start.ArgumentList.Add(shellCommand);
        try
        {
            using var process = Process.Start(start) ?? throw new CommandException(ExitCode.Key, $"cannot start the {word} command");
            Passphrase? passphrase = null;
            CommandException? refusal = null;
            try
            {
                passphrase = Read(process.StandardOutput.BaseStream);
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
                : new CommandException(ExitCode.Key, $"the {word} command failed with status {process.ExitCode}", refusal);
        }
        catch (Exception error) when (error is Win32Exception or IOException)
        {
            throw new CommandException(ExitCode.Key, $"cannot run the {word} command: {error.Message}", error);
        }
    }

    private Passphrase Prompt(CliEnvironment environment, string subject, bool isNew)
    {
        var first = ReadHidden(environment, $"{char.ToUpperInvariant(word[0])}{word[1..]} for '{subject}': ");
        if (!isNew)
            return first;
        using var second = ReadHidden(environment, "Once more: ");
        if (first.Bytes.SequenceEqual(second.Bytes))
            return first;
        first.Dispose();
        throw new CommandException(ExitCode.Key, $"the two {word}s differ");
    }

    private Passphrase ReadHidden(CliEnvironment environment, string prompt)
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
            return Passphrase.FromText(typed.AsSpan(0, length), word);
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
            result.AddError($"give only one of {file.Name}, {descriptor.Name} and {command.Name}");
    }
}
