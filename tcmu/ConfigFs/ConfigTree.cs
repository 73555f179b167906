using System.Text;

namespace CowScsi.Tcmu.ConfigFs;

/// <summary>
/// What configfs is driven with: folders are objects, files their attributes, links their relations. Each refusal becomes one line that
/// names the file and what the kernel said.
/// </summary>
internal static class ConfigTree
{
    /// <summary>Longest attribute: a page (SIMPLE_ATTR_SIZE of configfs).</summary>
    private const int AttributeBytesMax = 4096;

    /// <summary>Makes an object; false where it is there.</summary>
    public static bool Make(string path)
    {
        if (Directory.Exists(path))
            return false;
        Attempt($"make {path}", () => Directory.CreateDirectory(path));
        return true;
    }

    /// <summary>Removes an object, which has no children left; one that is not there is none.</summary>
    public static void Remove(string path)
    {
        if (Directory.Exists(path))
            Attempt($"remove {path}", () => Directory.Delete(path));
    }

    /// <summary>One attribute, in one write: that is how the kernel takes it.</summary>
    public static void Write(string path, string value) => Attempt($"write '{value}' to {path}", () =>
    {
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, bufferSize: 0);
        file.Write(Encoding.ASCII.GetBytes(value));
    });

    /// <summary>Writes an attribute where this kernel has it.</summary>
    public static void WriteIfThere(string path, string value)
    {
        if (File.Exists(path))
            Write(path, value);
    }

    /// <summary>An attribute, without what ends its line; null where there is none.</summary>
    public static string? Read(string path)
    {
        try
        {
            using var file = new FileStream(path, FileMode.Open, FileAccess.Read, FileShare.ReadWrite, bufferSize: 0);
            var bytes = new byte[AttributeBytesMax];
            var length = file.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return Encoding.UTF8.GetString(bytes, 0, length).TrimEnd('\n', ' ', '\0');
        }
        catch (Exception error) when (error is FileNotFoundException or DirectoryNotFoundException)
        {
            return null;
        }
        catch (IOException)
        {
            // The object went between two looks (ENODEV), or has no value now.
            return null;
        }
    }

    /// <summary>Relates an object to another one; one that is related already stays so.</summary>
    public static void Link(string path, string target)
    {
        if (!LinkExists(path))
            Attempt($"link {path} to {target}", () => File.CreateSymbolicLink(path, target));
    }

    public static void Unlink(string path)
    {
        if (LinkExists(path))
            Attempt($"remove {path}", () => File.Delete(path));
    }

    /// <summary>Links in a folder; configfs has no other kind of link there.</summary>
    public static IReadOnlyList<string> Links(string folder) => [.. Entries(folder).Where(LinkExists)];

    /// <summary>Objects in a folder.</summary>
    public static IReadOnlyList<string> Folders(string folder) => [.. Entries(folder).Where(static entry => !LinkExists(entry) && Directory.Exists(entry))];

    /// <summary>What a link of configfs, relative as it is shown, leads to; null where it is gone.</summary>
    public static string? TargetOf(string link) =>
        new FileInfo(link).LinkTarget is { } target ? Path.GetFullPath(target, Path.GetDirectoryName(link)!) : null;

    /// <summary>Others make and remove objects at any time: what goes between two looks was not there.</summary>
    private static string[] Entries(string folder)
    {
        try
        {
            return Directory.GetFileSystemEntries(folder);
        }
        catch (DirectoryNotFoundException)
        {
            return [];
        }
    }

    private static bool LinkExists(string path) => new FileInfo(path).LinkTarget is not null;

    private static void Attempt(string what, Action action)
    {
        try
        {
            action();
        }
        catch (UnauthorizedAccessException error)
        {
            throw new TcmuException(TcmuError.NotPermitted, $"cannot {what}: this needs root", error);
        }
        catch (Exception error) when (error is IOException)
        {
            throw new TcmuException(TcmuError.Refused, $"the kernel refuses to {what}: {error.Message} (dmesg may say why)", error);
        }
    }
}
