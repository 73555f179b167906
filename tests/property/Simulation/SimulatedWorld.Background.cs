using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>What the engine's threads would do, when the seed says: otherwise it is done where somebody waits for it.</summary>
internal sealed partial class SimulatedWorld
{
    /// <summary>Pieces of work at a time: fewer than a long history leaves behind, so that some stays for later.</summary>
    private const int StepsMax = 4;

    private bool RunBackground(int amount)
    {
        if (amount % 3 == 0)
            _ = store.Store.Store.Log.Cut(); // Ends the open batch: more and smaller ones, of which any subset may be lost.
        if (amount % 7 == 0)
            return StepKeeper();
        for (var i = 0; i <= amount % StepsMax; i++)
        {
            if (!store.Store.Store.StepWriter())
                break;
        }

        return true;
    }

    /// <summary>A second lets the writer write what nobody flushed, a minute has the keeper take a checkpoint.</summary>
    private bool PassTime(int amount)
    {
        time.Advance(TimeSpan.FromSeconds(amount % 90));
        return RunBackground(amount);
    }

    /// <summary>A keeper's round that fails is tried again by the next; it tells the operator.</summary>
    private bool StepKeeper()
    {
        try
        {
            store.Store.Store.StepKeeper();
            return true;
        }
        catch (StoreException)
        {
            return false;
        }
    }
}
