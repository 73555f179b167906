namespace CowScsi.Engine;

/// <summary>
/// The locks that order what happens to one map page: {append, map update} of writes, look-ups, and later the cleaner. A stripe is
/// chosen by the page number alone, so that every layer's view of a page has the same one. Held for memory operations, never over I/O.
/// Whoever takes them all (a snapshot, a checkpoint's cut) stops every write for that moment.
/// </summary>
internal sealed class PageStripes
{
    public const int Count = 256;

    private readonly object[] locks = new object[Count];
    private readonly uint[] versions = new uint[Count];

    public PageStripes()
    {
        for (var i = 0; i < Count; i++)
            locks[i] = new object();
    }

    public static int IndexOf(PageNumber page) => (int)(page.Value % Count);

    public object LockOf(int stripe) => locks[stripe];

    /// <summary>Number of changes made to pages of the stripe; read and raised under its lock.</summary>
    public ref uint Version(int stripe) => ref versions[stripe];

    public void EnterAll()
    {
        for (var i = 0; i < Count; i++)
            Monitor.Enter(locks[i]);
    }

    public void ExitAll()
    {
        for (var i = Count - 1; i >= 0; i--)
            Monitor.Exit(locks[i]);
    }
}
