namespace CowScsi.Scsi;

/// <summary>The mode parameters, what was counted, and the provisioning thresholds. (The other half of the class is LogicalUnit.cs.)</summary>
public sealed partial class LogicalUnit
{
    /// <summary>Bytes written by one thread after which space is looked at: often enough for a threshold of a few MiB.</summary>
    private const long SpaceCheckBytes = 4 << 20;

    private volatile ModeParameters? savedMode;

    /// <summary>1 while a threshold is reached and was reported; it arms again when it is not reached any more.</summary>
    private int isThresholdReported;

    internal UnitStatistics Statistics { get; } = new();

    /// <summary>What holds where nothing is saved: the write cache is on where there is one, and the guest is told before space runs out.</summary>
    internal ModeParameters DefaultMode
    {
        get
        {
            var geometry = Device.Geometry;
            return new(geometry.HasVolatileCache, false, false)
            {
                ReportsThresholds = IsThin(geometry),
                Available = Provisioning.DefaultAvailable(geometry),
            };
        }
    }

    /// <summary>What the parameters are after a reset.</summary>
    internal ModeParameters SavedOrDefaultMode => savedMode ?? DefaultMode;

    /// <summary>Whether writes may be acknowledged before they are durable (WCE, SBC-4 6.5.6).</summary>
    public bool IsWriteCacheEnabled => mode.IsWriteCacheEnabled;

    /// <summary>
    /// Raised when <see cref="IsWriteCacheEnabled"/> has another value, before the command that made it so is answered; a lock is held, so a
    /// handler notes it and returns.
    /// </summary>
    public event Action<LogicalUnit>? WriteCacheChanged;

    /// <summary>
    /// Turns the write cache on or off, as MODE SELECT does that saves nothing: every nexus hears of it, and where it is turned off, what it
    /// holds is durable when this completes.
    /// </summary>
    /// <returns>False where the device has no cache to turn on, or could not make durable what it holds.</returns>
    public async ValueTask<bool> SetWriteCacheAsync(bool isEnabled)
    {
        if (isEnabled && !Device.Geometry.HasVolatileCache)
            return false;
        lock (gate)
        {
            if (mode.IsWriteCacheEnabled == isEnabled)
                return true;
            ChangeMode(mode with { IsWriteCacheEnabled = isEnabled });
            foreach (var itl in nexuses)
                itl.Attentions.Establish(UnitAttention.ModeParametersChanged);
        }

        return isEnabled || (await Device.FlushAsync()).IsSuccess;
    }

    internal void SetMode(ItlNexus requester, ModeParameters wanted)
    {
        lock (gate)
        {
            if (mode == wanted)
                return;
            ChangeMode(wanted);
            EstablishForOthers(requester, UnitAttention.ModeParametersChanged);
        }
    }

    /// <summary>With the lock held.</summary>
    private void ChangeMode(ModeParameters wanted)
    {
        var wasCached = mode.IsWriteCacheEnabled;
        mode = wanted;
        if (wanted.IsWriteCacheEnabled != wasCached)
            WriteCacheChanged?.Invoke(this);
    }

    /// <summary>Keeps parameters across resets and restarts; false where they could not be made durable.</summary>
    internal async ValueTask<bool> SaveModeAsync(ModeParameters wanted)
    {
        var value = new byte[SavedMode.Bytes];
        SavedMode.Write(value, wanted);
        if (!await Options.Memory!.SaveAsync(SavedMode.Name, value))
            return false;
        savedMode = wanted;
        return true;
    }

    internal void CountRead(uint blocks) => Statistics.CountRead(blocks);

    /// <summary>Counts a write, and from time to time looks whether it brings the store near its end.</summary>
    internal void CountWrite(BlockRange range)
    {
        if (Statistics.CountWrite(range.BlockCount, range.LengthBytes, SpaceCheckBytes))
            CheckThresholds();
    }

    /// <summary>
    /// Establishes the unit attention condition of a soft threshold for every nexus when one is reached (SBC-4, 4.7.3.7), once until there is
    /// space again.
    /// </summary>
    internal void CheckThresholds()
    {
        if (!mode.ReportsThresholds || Device.GetSpace() is not { } space)
            return;
        if (!Provisioning.IsReached(mode, space))
        {
            Volatile.Write(ref isThresholdReported, 0);
            return;
        }

        if (Interlocked.Exchange(ref isThresholdReported, 1) != 0)
            return;
        lock (gate)
        {
            foreach (var itl in nexuses)
                itl.Attentions.Establish(UnitAttention.ThresholdReached);
        }
    }

    /// <summary>The saved parameters, as far as the device can have them: its cache may be gone since.</summary>
    private ModeParameters? LoadMode()
    {
        if (Options.Memory?.Load(SavedMode.Name) is not { } value || SavedMode.Read(value.Span) is not { } saved)
            return null;
        var geometry = Device.Geometry;
        return saved with
        {
            IsWriteCacheEnabled = saved.IsWriteCacheEnabled && geometry.HasVolatileCache,
            ReportsThresholds = saved.ReportsThresholds && IsThin(geometry),
        };
    }
}
