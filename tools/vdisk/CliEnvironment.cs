using System.Text;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Vdisk;

/// <summary>
/// What the process was given by its caller: standard streams, environment variables, whether a person is watching. Commands reach the
/// outside through this alone, so that a test can be that caller.
/// </summary>
internal sealed class CliEnvironment
{
    private const int OutputBufferBytes = 32 * 1024;

    public required TextWriter Out { get; init; }

    public required TextWriter Error { get; init; }

    /// <summary>Opens standard input for bytes.</summary>
    public required Func<Stream> OpenInput { get; init; }

    /// <summary>Opens standard output for bytes.</summary>
    public required Func<Stream> OpenOutput { get; init; }

    public required Func<string, string?> Variable { get; init; }

    /// <summary>True where a person can be asked (standard input and standard error are a terminal).</summary>
    public bool CanPrompt { get; init; }

    /// <summary>True where progress may be drawn on standard error.</summary>
    public bool ErrorIsTerminal { get; init; }

    /// <summary>True where tables are read by a person, not by a script.</summary>
    public bool OutputIsTerminal { get; init; }

    /// <summary>Ends when the process is to stop: Ctrl-C, SIGTERM, SIGHUP.</summary>
    public CancellationToken Stop { get; init; }

    public bool IsDebug => Variable("VDISK_DEBUG") is "1";

    /// <summary>
    /// The process's own. The streams are opened by descriptor: System.Console would read the terminal's description first, which
    /// costs a tenth of the time that a short command takes, and its output stream hides a closed pipe from whoever writes to it.
    /// </summary>
    public static CliEnvironment OfProcess(CancellationToken stop)
    {
        var encoding = new UTF8Encoding(encoderShouldEmitUTF8Identifier: false);
        var inputIsTerminal = !Console.IsInputRedirected;
        var errorIsTerminal = !Console.IsErrorRedirected;
        return new CliEnvironment
        {
            Out = new StreamWriter(Console.OpenStandardOutput(), encoding, OutputBufferBytes),
            Error = new StreamWriter(Console.OpenStandardError(), encoding) { AutoFlush = true },
            OpenInput = static () => OpenDescriptor(0, FileAccess.Read),
            OpenOutput = static () => OpenDescriptor(1, FileAccess.Write),
            Variable = Environment.GetEnvironmentVariable,
            CanPrompt = inputIsTerminal && errorIsTerminal,
            ErrorIsTerminal = errorIsTerminal,
            OutputIsTerminal = !Console.IsOutputRedirected,
            Stop = stop,
        };
    }

    /// <summary>One line about something that went wrong or that an operator should know.</summary>
    public void Complain(string message)
    {
        Out.Flush();
        Error.WriteLine("vdisk: " + message.ReplaceLineEndings(" "));
    }

    internal static FileStream OpenDescriptor(int descriptor, FileAccess access) =>
        new(new SafeFileHandle(descriptor, ownsHandle: false), access, bufferSize: 0);
}
