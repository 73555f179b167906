namespace CowScsi.Vdisk.Targets;

/// <summary>
/// Who may read the store's files. They are made for their owner alone; a store that was copied or restored may have come without that,
/// and then its secrets would be everybody's.
/// </summary>
internal static class StoreModes
{
    private const UnixFileMode Others =
        UnixFileMode.GroupRead | UnixFileMode.GroupWrite | UnixFileMode.GroupExecute | UnixFileMode.OtherRead | UnixFileMode.OtherWrite | UnixFileMode.OtherExecute;

    /// <summary>
    /// Takes what others may do with the files of a store from them; its directory stays as its owner made it.
    /// </summary>
    /// <returns>Files and folders that were changed.</returns>
    /// <exception cref="CommandException">They belong to somebody else, or their file system has no modes.</exception>
    public static int Restrict(string store)
    {
        var changed = 0;
        foreach (var path in Directory.EnumerateFileSystemEntries(store, "*", SearchOption.AllDirectories))
        {
            try
            {
                var mode = File.GetUnixFileMode(path);
                if ((mode & Others) == 0)
                    continue;
                File.SetUnixFileMode(path, mode & ~Others);
                if ((File.GetUnixFileMode(path) & Others) != 0)
                    throw new UnauthorizedAccessException("its file system keeps no modes");
                changed++;
            }
            catch (FileNotFoundException)
            {
                // The store drops files while it runs; what is gone can be read by nobody.
                continue;
            }
            catch (Exception error) when (error is IOException or UnauthorizedAccessException)
            {
                throw CommandException.Failed($"other users may read '{path}', and this cannot be changed: {error.Message}", error);
            }
        }

        return changed;
    }
}
