using System.Runtime.InteropServices;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Vdisk;

/// <summary>The C library's calls that the command line needs and .NET has no equal for.</summary>
internal static unsafe partial class NativeCalls
{
    private const string Library = "libc";

    private const int O_PATH = 0x20_0000;
    private const int O_CLOEXEC = 0x8_0000;

    private const int AT_FDCWD = -100;
    private const uint STATX_TYPE = 1;
    private const int StatxBytes = 256;
    private const int StatxModeOffset = 28;
    private const int S_IFMT = 0xF000;
    private const int S_IFREG = 0x8000;
    private const int S_IFIFO = 0x1000;

    /// <summary>60 bytes in the C libraries of Linux; a little more does no harm.</summary>
    private const int TermiosBytes = 64;
    private const int TermiosLocalFlagsOffset = 12;
    private const uint ECHO = 8;
    private const int TCSANOW = 0;
    private const int TCSAFLUSH = 2;

    /// <summary>A descriptor that only names a place in the file system; null leaves the reason in the last P/Invoke error.</summary>
    internal static SafeFileHandle? TryOpenPath(string path)
    {
        var descriptor = Open(path, O_PATH | O_CLOEXEC, 0);
        return descriptor < 0 ? null : new SafeFileHandle(descriptor, ownsHandle: true);
    }

    /// <summary>False where there is nothing at the path; links are followed.</summary>
    internal static bool TryGetKind(string path, out bool isRegular, out bool isPipe)
    {
        Span<byte> status = stackalloc byte[StatxBytes];
        status.Clear();
        int answer;
        fixed (byte* start = status)
            answer = Statx(AT_FDCWD, path, 0, STATX_TYPE, start);
        var type = MemoryMarshal.Read<ushort>(status[StatxModeOffset..]) & S_IFMT;
        isRegular = type == S_IFREG;
        isPipe = type == S_IFIFO;
        return answer == 0;
    }

    /// <summary>The terminal's settings as the C library keeps them (struct termios); null where there is no terminal.</summary>
    internal static byte[]? GetTerminal(int descriptor)
    {
        var settings = new byte[TermiosBytes];
        fixed (byte* start = settings)
            return TcGetAttr(descriptor, start) == 0 ? settings : null;
    }

    internal static void ClearEcho(byte[] settings)
    {
        ref var localFlags = ref MemoryMarshal.AsRef<uint>(settings.AsSpan(TermiosLocalFlagsOffset));
        localFlags &= ~ECHO;
    }

    internal static void SetTerminal(int descriptor, byte[] settings, bool dropInput)
    {
        fixed (byte* start = settings)
            _ = TcSetAttr(descriptor, dropInput ? TCSAFLUSH : TCSANOW, start);
    }

    [LibraryImport(Library, EntryPoint = "tcgetattr", SetLastError = true)]
    private static partial int TcGetAttr(int descriptor, byte* settings);

    [LibraryImport(Library, EntryPoint = "tcsetattr", SetLastError = true)]
    private static partial int TcSetAttr(int descriptor, int when, byte* settings);

    [LibraryImport(Library, EntryPoint = "fchmod", SetLastError = true)]
    internal static partial int FChMod(SafeHandle descriptor, uint mode);

    [LibraryImport(Library, EntryPoint = "open", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Open(string path, int flags, int mode);

    [LibraryImport(Library, EntryPoint = "statx", SetLastError = true, StringMarshalling = StringMarshalling.Utf8)]
    private static partial int Statx(int directory, string path, int flags, uint mask, byte* status);
}
