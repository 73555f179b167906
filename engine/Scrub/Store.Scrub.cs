namespace CowScsi.Engine;

/// <summary>Scrubbing: one at a time; where it is stands in the catalog, so that a restart goes on with it.</summary>
public sealed partial class Store
{
    /// <summary>Bytes a second unless told otherwise: a TiB in less than five hours, and little beside what guests do.</summary>
    public const long ScrubRateBytesDefault = 64L << 20;

    public const long ScrubRateBytesMin = 1L << 20;

    public const long ScrubRateBytesMax = 64L << 30;

    private readonly Lock scrubbing = new();
    private Scrubber? scrubber;

    /// <summary>
    /// Begins a scrub, or goes on with one that was stopped; one that is under way goes on with the new rate.
    /// </summary>
    /// <param name="rateBytes">Bytes a second at most.</param>
    /// <param name="anew">Begin at the beginning, whatever was done before.</param>
    public void StartScrub(long rateBytes, bool anew)
    {
        if (rateBytes is < ScrubRateBytesMin or > ScrubRateBytesMax)
            throw new StoreException(StoreError.Invalid, "the rate of a scrub is 1 MiB/s to 64 GiB/s");
        lock (scrubbing)
        {
            ObjectDisposedException.ThrowIf(disposed, this);
            if (scrubber is { IsActive: true } active && !anew)
            {
                active.SetRate(rateBytes);
                return;
            }

            EndScrub(ScrubProgress.Stopped);
            var last = LastScrub();
            var state = anew || last is null or { Progress: ScrubProgress.Finished } ? NewScrub(rateBytes) : last with { RateBytes = rateBytes };
            state = state with { Progress = ScrubProgress.Running };
            PutSetting(ScrubState.SettingKey, state.ToBytes());
            Begin(state);
        }
    }

    /// <summary>Goes on with a scrub that the end of another process interrupted; true where there is one.</summary>
    public bool ResumeScrub()
    {
        lock (scrubbing)
        {
            if (scrubber is { IsActive: true } || LastScrub() is not { Progress: ScrubProgress.Running } last)
                return false;
            Begin(last);
            return true;
        }
    }

    /// <summary>Stops a scrub where it is; false where none is under way.</summary>
    public bool StopScrub()
    {
        lock (scrubbing)
        {
            if (scrubber is { IsActive: true })
            {
                EndScrub(ScrubProgress.Stopped);
                return true;
            }

            if (LastScrub() is not { Progress: ScrubProgress.Running } interrupted)
                return false;
            PutSetting(ScrubState.SettingKey, (interrupted with { Progress = ScrubProgress.Stopped }).ToBytes());
            return true;
        }
    }

    /// <summary>Waits until no scrub is under way; false where the time ran out before.</summary>
    public bool WaitForScrub(TimeSpan patience, CancellationToken cancellation)
    {
        Scrubber? active;
        lock (scrubbing)
            active = scrubber;
        if (active is null)
            return true;
        var isOver = active.Wait(patience, cancellation);
        if (isOver && active.Failure is { } failure)
            throw new StoreException(StoreError.Io, $"the scrub ended early: {failure}");
        return isOver;
    }

    /// <summary>The last scrub; null where there was none. Who meets what it found is looked up as things are now.</summary>
    public ScrubStatus? GetScrub()
    {
        Scrubber? active;
        lock (scrubbing)
            active = scrubber;
        var isActive = active?.IsActive == true;
        if ((active?.State ?? LastScrub()) is not { } state)
            return null;
        return new ScrubStatus
        {
            Progress = state.Progress,
            IsActive = isActive,
            Started = new DateTimeOffset(state.StartedTicks, TimeSpan.Zero),
            Changed = new DateTimeOffset(state.ChangedTicks, TimeSpan.Zero),
            RateBytes = state.RateBytes,
            ReadBytes = state.ReadBytes,
            TotalBytes = state.TotalBytes,
            Findings = FindingsOf(state),
            MoreFindings = state.MoreRanges,
        };
    }

    /// <summary>Before the store closes: the next process goes on with what is under way.</summary>
    private void EndScrub(ScrubProgress progress)
    {
        scrubber?.End(progress);
        scrubber?.Dispose();
        scrubber = null;
    }

    private void Begin(ScrubState state)
    {
        EndScrub(ScrubProgress.Running);
        scrubber = new Scrubber(this, directory, state, options.Time);
        scrubber.Start();
    }

    private ScrubState NewScrub(long rateBytes)
    {
        // Everything in front of the end is in the files.
        var end = log!.Cut().PreviousEnd;
        FlushOrThrow();
        long total = 0;
        foreach (var segment in segments.ToList())
        {
            if (segment.Number <= end.Segment)
                total += (segment.Number == end.Segment ? end.OffsetBytes : segment.EndBytes) - SegmentHeader.SizeBytes;
        }

        var now = options.Time.GetUtcNow().UtcTicks;
        return new ScrubState
        {
            Progress = ScrubProgress.Running,
            Cursor = new LogPosition(1, SegmentHeader.SizeBytes),
            End = end,
            RateBytes = rateBytes,
            StartedTicks = now,
            ChangedTicks = now,
            TotalBytes = total,
        };
    }

    private ScrubState? LastScrub()
    {
        if (FindSetting(ScrubState.SettingKey) is not { } value)
            return null;
        if (ScrubState.TryRead(value.Span, out var state, out var fault))
            return state;
        options.Notice?.Invoke($"what is kept of the last scrub cannot be read ({fault}); the next one begins anew");
        return null;
    }

    private List<ScrubFinding> FindingsOf(ScrubState state)
    {
        var findings = new List<ScrubFinding>();
        if (state.Ranges.Count == 0)
            return findings;
        var views = new LayerViews(CopyCatalog(), Layers);
        var lookup = new ScrubLookup();
        var session = map!.Rent();
        for (var i = 0; i < state.Ranges.Count; i++)
        {
            var range = state.Ranges[i];
            var guests = new List<GuestRange>();
            foreach (var place in state.Places)
            {
                if (place.Range != i || ReadOwnPage(session, place.Layer, place.Page, out var entries) != MapOutcome.Found)
                    continue;
                // Only what still points there: what was overwritten since is whole again.
                var blocks = (ushort)(place.Blocks & lookup.BlocksIn(this, in entries, range));
                views.AddGuests(place.Layer, place.Page, blocks, guests, FindingList.GuestsMax);
            }

            findings.Add(new ScrubFinding(SegmentHeader.FileName(range.Segment), range.OffsetBytes, range.LengthBytes, Describe(range), guests));
        }

        map.Return(session);
        return findings;
    }

    private static string Describe(ScrubRange range) => range.Kind switch
    {
        ScrubRange.Extent => "the stored bytes of an extent do not match their checksum",
        ScrubRange.CatalogRecord => "a catalog or reference record does not match its checksum; 'vdisk check' says what that means",
        _ => "no valid batch; 'vdisk check' says what that means",
    };
}
