using System.Text;

namespace CowScsi.Engine;

/// <summary>A store's directory on a real file system.</summary>
public sealed class LinuxDirectory(string path) : StoreDirectory
{
    public override string Path { get; } = System.IO.Path.GetFullPath(path);

    public override long FreeBytes
    {
        get
        {
            try
            {
                return new DriveInfo(Path).AvailableFreeSpace;
            }
            catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
            {
                // The directory is gone, or its device: whoever asks in the background goes on without, and guests are refused.
                throw new StoreException(StoreError.Io, $"cannot tell the free space under '{Path}': {failure.Message}");
            }
        }
    }

    public override bool Exists(string name) => File.Exists(Full(name));

    public override StoreFile Open(string name, bool writable) =>
        writable ? LinuxFile.OpenReadWrite(Full(name)) : LinuxFile.OpenRead(Full(name));

    public override StoreFile OpenPastCache(string name) => LinuxFile.OpenDirect(Full(name));

    public override StoreFile Create(string name) => LinuxFile.CreateNew(Full(name));

    public override void Delete(string name) => Attempt("remove", name, static full => File.Delete(full));

    public override void Rename(string from, string to)
    {
        var target = Full(to);
        Attempt("rename", from, full => File.Move(full, target, overwrite: true));
    }

    public override IReadOnlyList<string> List(string folder)
    {
        var names = new List<string>();
        Attempt("list", folder, full =>
        {
            foreach (var file in Directory.EnumerateFiles(full))
                names.Add(System.IO.Path.GetFileName(file));
        });
        names.Sort(StringComparer.Ordinal);
        return names;
    }

    public override void CreateFolder(string folder) => Attempt("create", folder, static full =>
        Directory.CreateDirectory(full, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute));

    public override void Sync(string folder) => LinuxFile.SyncDirectory(Full(folder));

    public override IDisposable? TryLock(string name, string text, out string holder)
    {
        const int HolderBytesMax = 256;
        holder = "";
        var file = LinuxFile.OpenOrCreate(Full(name));
        if (file.TryLockExclusive())
        {
            file.SetLength(0);
            file.Write(Encoding.UTF8.GetBytes(text), 0);
            return file;
        }

        Span<byte> bytes = stackalloc byte[HolderBytesMax];
        bytes = bytes[..(int)Math.Min(file.LengthBytes, HolderBytesMax)];
        holder = file.Read(bytes, 0) == FileOutcome.Success ? Encoding.UTF8.GetString(bytes).Trim() : "another process";
        file.Dispose();
        return null;
    }

    private string Full(string name) => name.Length == 0 ? Path : System.IO.Path.Combine(Path, name);

    private void Attempt(string verb, string name, Action<string> action)
    {
        var full = Full(name);
        try
        {
            action(full);
        }
        catch (Exception failure) when (failure is IOException or UnauthorizedAccessException)
        {
            throw new StoreException(StoreError.Io, $"cannot {verb} '{full}': {failure.Message}", failure);
        }
    }
}
