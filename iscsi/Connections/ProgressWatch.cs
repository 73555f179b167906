namespace CowScsi.Iscsi.Connections;

/// <summary>
/// Tells slow from stuck: something that is under way must move a least number of bytes in each period, however long it takes in all.
/// </summary>
internal struct ProgressWatch
{
    /// <summary>What a peer has to take or send in one period. A link that is slower than this is no use for storage.</summary>
    private const long BytesMin = 64 * 1024;

    private long movedBytes;
    private long since;

    public void Note(long bytes) => movedBytes += bytes;

    /// <summary>What was under way has ended, or something new begins.</summary>
    public void Restart() => since = 0;

    /// <summary>True where a whole period went by without progress while something was under way.</summary>
    public bool IsStuck(bool isUnderWay, long nowMilliseconds, double periodMilliseconds)
    {
        if (!isUnderWay || since == 0)
        {
            since = isUnderWay ? nowMilliseconds : 0;
            movedBytes = 0;
            return false;
        }

        if (nowMilliseconds - since <= periodMilliseconds)
            return false;
        if (movedBytes < BytesMin)
            return true;
        since = nowMilliseconds;
        movedBytes = 0;
        return false;
    }
}
