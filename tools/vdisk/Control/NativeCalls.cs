using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Vdisk.Control;

/// <summary>The C library's calls that the control socket needs and .NET has no equal for.</summary>
internal static partial class NativeCalls
{
    internal const int O_PATH = 0x20_0000;
    internal const int O_CLOEXEC = 0x8_0000;

    private const string Library = "libc";

    /// <summary>Opens a path; a negative answer leaves the reason in the last P/Invoke error. (O_DIRECTORY has another value on arm64.)</summary>
    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    internal static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "fchmod", SetLastError = true)]
    internal static partial int FChMod(SafeHandle descriptor, uint mode);

    /// <summary>A descriptor that only names a place in the file system.</summary>
    internal static SafeFileHandle? TryOpenPath(string path)
    {
        var descriptor = Open(path, O_PATH | O_CLOEXEC, 0);
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }
}
