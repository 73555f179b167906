using System.Runtime.CompilerServices;

namespace CowScsi.Engine;

/// <summary>
/// Atomic writes: several pages, wholly there or not at all. After a crash, because all their records are in one batch of the log, which
/// counts only whole; for snapshots and checkpoints, because these take all stripes and the write holds its own until all its pages are in
/// the map; for readers, through <see cref="AtomicChanges"/>.
/// </summary>
public sealed partial class Volume
{
    /// <summary>
    /// Longest atomic write: half of a batch, so that it fits into one whatever it begins with, and into a segment of the smallest size.
    /// </summary>
    public const int AtomicBytesMax = 256 << 10;

    /// <summary>Pages of such a write where it begins inside a page.</summary>
    public const int AtomicPiecesMax = (AtomicBytesMax / StoreFormat.PageBytes) + 1;

    /// <summary>Reads that are done again because an atomic write overtook them, before such writes are held off.</summary>
    private const int OvertakenReadsMax = 3;

    private readonly AtomicChanges atomicChanges = new();

    [InlineArray(AtomicPiecesMax)]
    private struct LogTickets
    {
        private LogTicket first;
    }

    /// <summary>A page of an atomic write: its state before, and whether that was fetched from the index's disk outside the lock.</summary>
    private struct AtomicPage
    {
        public OwnedPage Owned;
        public bool IsFetched;
        public uint FetchedVersion;
    }

    /// <summary>Appends all pieces as records of one batch and points the map at them as one change.</summary>
    /// <param name="pieces">1 to <see cref="AtomicPiecesMax"/>, of pages that follow each other.</param>
    /// <param name="source">Puts their stored bytes into the log buffer.</param>
    /// <param name="mayWait">Whether the caller may be held up.</param>
    /// <returns>Changed where an expected block is no longer there: nothing was written.</returns>
    public VolumeOutcome WriteAtomic<TSource>(ReadOnlySpan<AtomicPiece> pieces, ref TSource source, bool mayWait)
        where TSource : IAtomicSource
    {
        RequireNeighbours(pieces);
        if (BeginChange(mayWait, LogUse.Data, out var refused))
            return refused;
        if (!atomicChanges.TryEnter(mayWait))
            return VolumeOutcome.WouldWait;
        Span<AtomicPage> pages = stackalloc AtomicPage[AtomicPiecesMax];
        pages = pages[..pieces.Length];
        pages.Clear();
        var session = store.Map.Rent();
        var isInside = false;
        try
        {
            var outcome = EnterPages(pieces, pages, session, mayWait, ref isInside);
            if (outcome != VolumeOutcome.Success)
                return outcome;
            var tickets = default(LogTickets);
            if (store.Log.ReserveTogether(pieces, tickets) is var reserved and not FileOutcome.Success)
                return Refused(reserved);
            Append(pieces, tickets, pages, ref source);
            atomicChanges.BeginApply(pieces[0].Page.Value, pieces[^1].Page.Value);
            for (var i = 0; i < pieces.Length; i++)
                Publish(pieces[i].Page, in pages[i].Owned.Edit, session);
            atomicChanges.EndApply();
            return VolumeOutcome.Success;
        }
        finally
        {
            if (isInside)
                ExitStripes(pieces);
            store.Map.Return(session);
            atomicChanges.Leave();
        }
    }

    /// <summary>
    /// Where a read of several pages begins. Passed to <see cref="WasOvertaken"/> after its last look-up.
    /// </summary>
    public long BeginRead() => atomicChanges.Settled;

    /// <summary>Whether an atomic write to these pages came between, so that the read may have a part of it and is done again.</summary>
    public bool WasOvertaken(long begun, PageNumber first, PageNumber last) => atomicChanges.WasOvertaken(begun, first.Value, last.Value);

    /// <summary>Whether a read was overtaken so often that it now holds atomic writes off.</summary>
    public static bool IsStarved(int overtaken) => overtaken >= OvertakenReadsMax;

    /// <summary>Holds atomic writes off until <see cref="LetAtomicGo"/>; on a thread that may wait.</summary>
    public void HoldAtomicOff() => atomicChanges.HoldOff();

    public void LetAtomicGo() => atomicChanges.LetGo();

    /// <summary>Fills and describes the records. They are committed together: the batch is not written before, and never if this throws.</summary>
    private void Append<TSource>(ReadOnlySpan<AtomicPiece> pieces, ReadOnlySpan<LogTicket> tickets, Span<AtomicPage> pages, ref TSource source)
        where TSource : IAtomicSource
    {
        var filled = false;
        try
        {
            for (var i = 0; i < pieces.Length; i++)
            {
                ref readonly var piece = ref pieces[i];
                if (piece.IsZero)
                {
                    RecordZero(ref pages[i].Owned, piece.Page, piece.First, piece.Count, in tickets[i]);
                    continue;
                }

                source.Fill(i, tickets[i].ExtentId, tickets[i].Payload);
                Record(ref pages[i].Owned, piece.Page, piece.First, piece.Count, piece.Encoding, piece.StoredBytes, in tickets[i]);
            }

            filled = true;
        }
        finally
        {
            if (!filled)
                store.Log.Poison($"filling an atomic write at extent {tickets[0].ExtentId} failed");
            foreach (ref readonly var ticket in tickets[..pieces.Length])
                ticket.Commit();
        }
    }

    /// <summary>
    /// Enters all stripes with the pages' present entries in hand. One page that is on the index's disk is fetched with all stripes let go;
    /// the stripe's version tells whether it is still the truth when they are held again.
    /// </summary>
    private VolumeOutcome EnterPages(ReadOnlySpan<AtomicPiece> pieces, Span<AtomicPage> pages, MapSession session, bool mayWait, ref bool isInside)
    {
        foreach (ref readonly var piece in pieces)
            owners.Prepare(piece.Page);
        while (true)
        {
            EnterStripes(pieces);
            isInside = true;
            var outcome = LookUp(pieces, pages, session, out var onDisk);
            if (outcome == MapOutcome.Damaged)
                return VolumeOutcome.Damaged;
            if (outcome == MapOutcome.Found)
                return AreExpected(pieces, pages) ? VolumeOutcome.Success : VolumeOutcome.Changed;
            if (!mayWait)
                return VolumeOutcome.WouldWait;
            ExitStripes(pieces);
            isInside = false;
            ref var wanted = ref pages[onDisk].Owned;
            if (session.WaitForRead(wanted.Owner, pieces[onDisk].Page, out wanted.Edit.Page) != MapOutcome.Found)
                return VolumeOutcome.Damaged;
        }
    }

    /// <summary>Looks the pages up; OnDisk, with the page, where one has to be fetched, which the session then does.</summary>
    private MapOutcome LookUp(ReadOnlySpan<AtomicPiece> pieces, Span<AtomicPage> pages, MapSession session, out int onDisk)
    {
        onDisk = -1;
        for (var i = 0; i < pieces.Length; i++)
        {
            var number = pieces[i].Page;
            ref var page = ref pages[i];
            var version = store.Stripes.Version(PageStripes.IndexOf(number));
            page.Owned.Owner = owners.OwnerOf(number);
            if (page.Owned.Owner.IsNone)
            {
                page.Owned.Edit = default;
                continue;
            }

            if (page.IsFetched && page.FetchedVersion == version)
                continue;
            page.IsFetched = false;
            var outcome = session.TryRead(page.Owned.Owner, number, out page.Owned.Edit.Page);
            if (outcome == MapOutcome.Found)
                continue;
            if (outcome != MapOutcome.OnDisk)
                return MapOutcome.Damaged;
            page.IsFetched = true;
            page.FetchedVersion = version;
            onDisk = i;
            return MapOutcome.OnDisk;
        }

        return MapOutcome.Found;
    }

    private static bool AreExpected(ReadOnlySpan<AtomicPiece> pieces, ReadOnlySpan<AtomicPage> pages)
    {
        for (var i = 0; i < pieces.Length; i++)
        {
            ref readonly var piece = ref pieces[i];
            ref readonly var page = ref pages[i].Owned.Edit.Page;
            if (!piece.ExpectedFirst.Allows(in page[piece.First]) || !piece.ExpectedLast.Allows(in page[piece.First + piece.Count - 1]))
                return false;
        }

        return true;
    }

    private static void RequireNeighbours(ReadOnlySpan<AtomicPiece> pieces)
    {
        ArgumentOutOfRangeException.ThrowIfZero(pieces.Length);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(pieces.Length, AtomicPiecesMax);
        for (var i = 1; i < pieces.Length; i++)
            ArgumentOutOfRangeException.ThrowIfNotEqual(pieces[i].Page.Value, pieces[i - 1].Page.Value + 1, nameof(pieces));
    }

    /// <summary>Neighbouring pages have neighbouring stripes; where these begin anew at 0, the ones behind come first.</summary>
    private void EnterStripes(ReadOnlySpan<AtomicPiece> pieces)
    {
        var wrap = 1;
        while (wrap < pieces.Length && PageStripes.IndexOf(pieces[wrap].Page) != 0)
            wrap++;
        for (var i = 0; i < pieces.Length; i++)
            Monitor.Enter(StripeOf(pieces[(wrap + i) % pieces.Length]));
    }

    private void ExitStripes(ReadOnlySpan<AtomicPiece> pieces)
    {
        foreach (ref readonly var piece in pieces)
            Monitor.Exit(StripeOf(in piece));
    }

    private object StripeOf(in AtomicPiece piece) => store.Stripes.LockOf(PageStripes.IndexOf(piece.Page));
}
