using System.Globalization;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Engine;

/// <summary>Asks who holds a lock without trying to take it: a try would make a server that starts in the same moment fail.</summary>
internal static class FileLocks
{
    private const string InodePrefix = "ino:";

    /// <summary>
    /// True where /proc/locks has an exclusive flock of the file. Locks of processes in other PID namespaces are not listed there, so false is a hint
    /// and no proof.
    /// </summary>
    public static bool IsLocked(string path)
    {
        // Not through .NET, which takes a lock of its own on what it opens.
        using var file = new SafeFileHandle(Libc.Open(path, Libc.O_RDONLY | Libc.O_CLOEXEC, 0), ownsHandle: true);
        if (file.IsInvalid)
            return false;
        var inode = "";
        foreach (var line in File.ReadLines($"/proc/self/fdinfo/{file.DangerousGetHandle().ToString(CultureInfo.InvariantCulture)}"))
        {
            if (line.StartsWith(InodePrefix, StringComparison.Ordinal))
                inode = line[InodePrefix.Length..].Trim();
        }

        // 1: FLOCK  ADVISORY  WRITE 12345 00:2b:1234567 0 EOF
        foreach (var line in File.ReadLines("/proc/locks"))
        {
            if (inode.Length > 0 && line.Contains("FLOCK", StringComparison.Ordinal) && line.Contains(" WRITE ", StringComparison.Ordinal) && line.Contains($":{inode} ", StringComparison.Ordinal))
                return true;
        }

        return false;
    }
}
