namespace CowScsi.Vdisk.Control;

/// <summary>What both sides of the control socket agree on.</summary>
internal static class ControlProtocol
{
    /// <summary>The passphrase of the disk that a request is about, in base64. The socket's mode is 0600; nothing logs requests.</summary>
    public const string PassphraseHeader = "Vdisk-Passphrase";

    public const string JsonType = "application/json; charset=utf-8";

    /// <summary>One JSON document a line.</summary>
    public const string JsonLinesType = "application/x-ndjson; charset=utf-8";

    /// <summary>Frames as ExtentFrame describes them.</summary>
    public const string FramesType = "application/vnd.cowscsi.extents";

    /// <summary>Longest request body that is a document; what disks contain is streamed and has no bound.</summary>
    public const int DocumentBytesMax = 64 * 1024;

    public const string StorePath = "/v1/store";
    public const string DisksPath = "/v1/disks";
    public const string CheckPath = "/v1/check";
    public const string ScrubPath = "/v1/scrub";
    public const string TargetsPath = "/v1/targets";
    public const string SessionsPath = "/v1/sessions";
    public const string VhostPath = "/v1/vhost";

    /// <summary>The HTTP status that goes with an exit code; the client reads the code itself from the document.</summary>
    public static int ToHttpStatus(ExitCode code) => code switch
    {
        ExitCode.Usage => 400,
        ExitCode.NotFound => 404,
        ExitCode.InUse or ExitCode.HasDependents => 409,
        ExitCode.Key => 403,
        _ => 500,
    };
}
