using System.Text;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>What one command line printed and answered.</summary>
internal sealed record CliResult(int Code, string Out, string Error);

/// <summary>Runs command lines in this process, from the words to the exit code, in surroundings of the test's making.</summary>
internal sealed class CliRun
{
    private readonly Dictionary<string, string> variables = new(StringComparer.Ordinal);

    public byte[] Input { get; set; } = [];

    public CancellationToken Stop { get; set; }

    /// <summary>What was written to standard output as bytes, by the last run.</summary>
    public MemoryStream Output { get; private set; } = new();

    /// <summary>Done when the command of the last run has flushed what it printed, as a server does when it is ready.</summary>
    public Task Flushed { get; private set; } = Task.CompletedTask;

    public CliRun With(string variable, string value)
    {
        variables[variable] = value;
        return this;
    }

    public async Task<CliResult> RunAsync(params string[] words)
    {
        using var output = new FlushedWriter();
        var error = new StringWriter();
        Flushed = output.Flushed;
        Output = new MemoryStream();
        var environment = new CliEnvironment
        {
            Out = output,
            Error = error,
            OpenInput = () => new PipeLike(Input),
            OpenOutput = () => Output,
            Variable = name => variables.GetValueOrDefault(name),
            Stop = Stop,
        };
        var code = await Program.RunAsync(words, environment);
        return new CliResult(code, output.ToString(), error.ToString());
    }

    /// <summary>Runs and insists on success.</summary>
    public async Task<string> DoAsync(params string[] words)
    {
        var result = await RunAsync(words);
        Assert.True(result.Code == 0, $"vdisk {string.Join(' ', words)}: {result.Code}: {result.Error}");
        return result.Out;
    }

    /// <summary>Runs and insists on one line of refusal with an exit code.</summary>
    public async Task<string> FailAsync(ExitCode code, params string[] words)
    {
        var result = await RunAsync(words);
        Assert.True(result.Code == (int)code, $"vdisk {string.Join(' ', words)}: {result.Code}: {result.Error}{result.Out}");
        Assert.StartsWith("vdisk: ", result.Error, StringComparison.Ordinal);
        Assert.Equal(1, result.Error.Count(c => c == '\n'));
        Assert.DoesNotContain("   at ", result.Error, StringComparison.Ordinal);
        return result.Error;
    }

    private sealed class FlushedWriter : StringWriter
    {
        private readonly TaskCompletionSource flushed = new(TaskCreationOptions.RunContinuationsAsynchronously);

        public Task Flushed => flushed.Task;

        public override void Flush() => flushed.TrySetResult();
    }

    /// <summary>Bytes of which nobody knows the length before their end, as from a pipe.</summary>
    private sealed class PipeLike : MemoryStream
    {
        public PipeLike(byte[] bytes)
            : base(bytes)
        {
        }

        public override bool CanSeek => false;
    }
}

/// <summary>A directory that goes away with the test.</summary>
internal sealed class TemporaryDirectory : IDisposable
{
    public TemporaryDirectory() => Path = Directory.CreateTempSubdirectory("vdisk-test-").FullName;

    public string Path { get; }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    public string Write(string name, byte[] bytes)
    {
        var path = File(name);
        System.IO.File.WriteAllBytes(path, bytes);
        return path;
    }

    public string Write(string name, string text) => Write(name, Encoding.UTF8.GetBytes(text));

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
