namespace CowScsi.Vdisk;

/// <summary>A command that cannot be carried out. The message is the one line that the user reads after "vdisk: ".</summary>
internal sealed class CommandException : Exception
{
    public CommandException(ExitCode code, string message, Exception? innerException = null)
        : base(message, innerException) => Code = code;

    public ExitCode Code { get; }

    public static CommandException Usage(string message) => new(ExitCode.Usage, message);

    public static CommandException Failed(string message, Exception? innerException = null) => new(ExitCode.Failed, message, innerException);
}
