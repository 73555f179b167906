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

    internal void SetMode(ItlNexus requester, ModeParameters wanted)
    {
        lock (gate)
        {
            if (mode == wanted)
                return;
            mode = wanted;
            EstablishForOthers(requester, UnitAttention.ModeParametersChanged);
        }
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
