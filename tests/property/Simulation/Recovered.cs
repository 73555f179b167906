using CowScsi.Engine;
using CowScsi.Layers;

namespace CowScsi.Tests.Property;

/// <summary>What came of opening a disk state: what the store then shows, or why it refuses.</summary>
internal sealed class Recovered
{
    private Recovered(SimulatedDirectory directory, StoreReading? reading, string text)
    {
        Directory = directory;
        Reading = reading;
        Text = text;
    }

    /// <summary>The disk with what the opening did to it; null once it was let go.</summary>
    public SimulatedDirectory? Directory { get; private set; }

    /// <summary>Null where the store refuses to open.</summary>
    public StoreReading? Reading { get; }

    /// <summary>The refusal, or what the checker found; "" where all is well.</summary>
    public string Text { get; }

    /// <summary>The first extent id that the store has not given out.</summary>
    public ulong NextExtentId { get; private init; }

    /// <summary>Why the map was rebuilt although there was a checkpoint, or null.</summary>
    public string? RebuiltBecause { get; private init; }

    public bool IsClean => Reading is not null && Text.Length == 0;

    /// <summary>Opens, reads everything, has it checked, and lets go as a crash does.</summary>
    public static Recovered Open(DiskImage image, StoreOptions options, NativeBuffer memory, bool isChecked)
    {
        var directory = new SimulatedDirectory(image);
        Store opened;
        try
        {
            opened = Store.Open(directory, options);
        }
        catch (StoreException refusal)
        {
            return new Recovered(directory, null, $"{refusal.Error}: {refusal.Message}");
        }

        var opening = directory.Journal.Count;
        var next = opened.Log.NextExtentId;
        var store = new DiskStore(opened);
        try
        {
            var reading = StoreReading.Of(store, memory, SimulatedStore.Passphrase);
            return new Recovered(directory, reading, isChecked ? Check(opened) : "") { OpeningEvents = opening, NextExtentId = next, RebuiltBecause = opened.RebuiltBecause };
        }
        finally
        {
            opened.Crash();
        }
    }

    private static string Check(Store store)
    {
        store.StepKeeper(); // What deletes left is taken back; a check waits for that.
        return string.Join("; ", store.Check(progress: null, CancellationToken.None).Findings.Take(5));
    }

    /// <summary>Keeps what was found and lets the disk go.</summary>
    public void LetGo() => Directory = null;

    /// <summary>Events of the journal that the opening itself made.</summary>
    public int OpeningEvents { get; private init; }
}
