namespace CowScsi.Scsi;

/// <summary>
/// A logical unit that is being given to initiators, over whichever transport. Disposing of it takes it from them and completes when no
/// command is under way any more; the logical unit stays the caller's.
/// </summary>
public abstract class ServedDisk : IAsyncDisposable
{
    /// <summary>Where initiators find it: an iscsi:// URL, the path of a socket, /dev/sdX.</summary>
    public abstract string Address { get; }

    /// <summary>Takes the disk from its initiators.</summary>
    public abstract ValueTask DisposeAsync();
}
