using System.Diagnostics;
using Xunit;

namespace CowScsi.Tests.Unit.Kill;

/// <summary>A file system of a chosen size, in memory, that can be filled and grown. Mounting takes root.</summary>
internal sealed class SmallFileSystem : IDisposable
{
    private SmallFileSystem(string path) => Path = path;

    public string Path { get; }

    public string Store => File("store");

    /// <summary>Skips the test, and says why, where this process may not mount.</summary>
    public static SmallFileSystem Mount(long bytes)
    {
        var path = Directory.CreateTempSubdirectory("vdisk-test-").FullName;
        var (status, said) = Run("mount", "-t", "tmpfs", "-o", $"size={bytes},mode=0700", "vdisk-test", path);
        if (status != 0)
            Directory.Delete(path);
        Skip.If(status != 0, $"no file system can be mounted to be filled: {said} (root with CAP_SYS_ADMIN can)");
        return new SmallFileSystem(path);
    }

    public string File(string name) => System.IO.Path.Combine(Path, name);

    /// <summary>Makes it larger, or smaller as far as its content allows. 0 would be no bound.</summary>
    public void Resize(long bytes)
    {
        Assert.True(bytes > 0);
        var (status, said) = Run("mount", "-o", $"remount,size={bytes}", Path);
        Assert.True(status == 0, said);
    }

    /// <summary>Fills it with a file, but for so many bytes; the file goes when it is disposed of.</summary>
    public IDisposable FillUpTo(long freeBytes)
    {
        var path = File("filler");
        var bytes = new DriveInfo(Path).AvailableFreeSpace - freeBytes;
        Assert.True(bytes > 0, $"only {new DriveInfo(Path).AvailableFreeSpace} bytes are free");
        return new FileStream(path, new FileStreamOptions
        {
            Mode = FileMode.CreateNew,
            Access = FileAccess.Write,
            PreallocationSize = bytes,
            Options = FileOptions.DeleteOnClose,
        });
    }

    public void Dispose()
    {
        Run("umount", "-l", Path);
        Directory.Delete(Path);
    }

    private static (int Status, string Said) Run(string program, params string[] words)
    {
        using var process = Process.Start(new ProcessStartInfo(program, words) { UseShellExecute = false, RedirectStandardError = true, RedirectStandardOutput = true })!;
        var said = process.StandardError.ReadToEnd();
        process.WaitForExit();
        return (process.ExitCode, said.Trim());
    }
}
