namespace CowScsi.Engine;

/// <summary>Why a store refused, in terms a command line turns into an exit code.</summary>
public enum StoreError : byte
{
    /// <summary>The operating system refused (message carries path and reason).</summary>
    Io = 1,

    /// <summary>No store, disk or snapshot of that name.</summary>
    NotFound = 2,

    /// <summary>Another process holds the store, or the object is open for writing.</summary>
    InUse = 3,

    /// <summary>The passphrase opens no key slot, or a key is needed and was not given.</summary>
    Key = 4,

    /// <summary>Clones or snapshots depend on the object; the message names them.</summary>
    HasDependents = 5,

    /// <summary>The name is taken.</summary>
    NameTaken = 6,

    /// <summary>A name, size or option is not acceptable; the message says what would be.</summary>
    Invalid = 7,

    /// <summary>A structure failed its checks; the message names file, offset, structure and predicate.</summary>
    Corrupt = 8,

    /// <summary>The store needs a feature this build does not have; the message names it.</summary>
    Unsupported = 9,

    /// <summary>No room is left in the file system under the store.</summary>
    OutOfSpace = 10,
}

/// <summary>A store that cannot be used as asked. The message is one line, says what is wrong and what to do.</summary>
public sealed class StoreException : Exception
{
    public StoreException()
        : this(StoreError.Io, "the store failed")
    {
    }

    public StoreException(string message)
        : this(StoreError.Io, message)
    {
    }

    public StoreException(string message, Exception innerException)
        : this(StoreError.Io, message, innerException)
    {
    }

    public StoreException(StoreError error, string message, Exception? innerException = null)
        : base(message, innerException) => Error = error;

    public StoreError Error { get; }
}
