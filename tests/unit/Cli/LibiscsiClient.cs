using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>libiscsi's own programs (Debian: libiscsi-bin): initiators that are not ours.</summary>
internal static class LibiscsiClient
{
    /// <summary>Skips the test, and says why, where they are missing.</summary>
    public static void SkipWhereMissing() =>
        Skip.IfNot(File.Exists("/usr/bin/iscsi-inq") && File.Exists("/usr/bin/iscsi-ls"), "libiscsi's programs are missing: scripts/setup test installs them");

    /// <summary>INQUIRY of a logical unit at an address as iscsi-inq takes it.</summary>
    public static Task<(bool IsDone, string Said)> InquireAsync(string url, string initiator) => RunAsync("/usr/bin/iscsi-inq", "-i", initiator, url);

    /// <summary>Discovery at a portal.</summary>
    public static Task<(bool IsDone, string Said)> DiscoverAsync(string portalUrl, string initiator) => RunAsync("/usr/bin/iscsi-ls", "-i", initiator, portalUrl);

    private static async Task<(bool IsDone, string Said)> RunAsync(string program, params string[] words)
    {
        var (code, said) = await ClientProgram.RunAsync(program, words);
        return (code == 0, said);
    }
}
