namespace CowScsi.Engine;

/// <summary>
/// The directory that is a store: names of files (with at most one folder before them), and the durability of those names. Failures are
/// <see cref="StoreException"/> with the path in the message.
/// </summary>
public abstract class StoreDirectory
{
    public abstract string Path { get; }

    /// <summary>Space an unprivileged writer could still take, in bytes.</summary>
    public abstract long FreeBytes { get; }

    public abstract bool Exists(string name);

    public abstract StoreFile Open(string name, bool writable);

    /// <summary>
    /// Opens for reading from the device itself, past the page cache, where the file system can: what is read is what is stored, and what
    /// others have in the cache stays there. Reads are at multiples of 4096 into memory that is aligned so.
    /// </summary>
    public virtual StoreFile OpenPastCache(string name) => Open(name, writable: false);

    /// <summary>Creates a file that must not exist.</summary>
    public abstract StoreFile Create(string name);

    /// <summary>Removes a file; one that is not there is no error.</summary>
    public abstract void Delete(string name);

    /// <summary>Replaces <paramref name="to"/> by <paramref name="from"/> in one step.</summary>
    public abstract void Rename(string from, string to);

    /// <summary>Names of the files in a folder of the store ("" for the store itself), without the folder.</summary>
    public abstract IReadOnlyList<string> List(string folder);

    public abstract void CreateFolder(string folder);

    /// <summary>Makes the names in a folder ("" for the store itself) durable.</summary>
    public abstract void Sync(string folder);

    /// <summary>
    /// Takes the lock that a file stands for, creating the file where it is missing, until what is returned is disposed. Null where
    /// somebody else has it.
    /// </summary>
    /// <param name="name">The file.</param>
    /// <param name="text">What it then says of the one that has it.</param>
    /// <param name="holder">What it says of the one that has it already; else empty.</param>
    public abstract IDisposable? TryLock(string name, string text, out string holder);
}
