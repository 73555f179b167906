using System.Text;

namespace CowScsi.Tests.Property;

/// <summary>
/// Knows which states are legal: those after some prefix of the effects, in the order in which they were issued, that includes all that
/// was promised to be durable. Effects are numbered; "after k" is the state behind the first k.
/// </summary>
internal sealed class Oracle(ModelStore start)
{
    private readonly ModelStore start = start.Copy();
    private readonly List<ModelEffect> effects = [];
    private readonly List<ulong> hashes = [start.Hash()];

    /// <summary>The state with all effects.</summary>
    public ModelStore Present { get; private set; } = start.Copy();

    public int Issued => effects.Count;

    public void Issue(ModelEffect effect)
    {
        effect.Apply(Present);
        effects.Add(effect);
        hashes.Add(Present.Hash());
    }

    /// <summary>Takes back effects that turned out not to have happened.</summary>
    public void Withdraw(int keep)
    {
        effects.RemoveRange(keep, effects.Count - keep);
        hashes.RemoveRange(keep + 1, hashes.Count - keep - 1);
        Present = After(keep);
    }

    public ModelStore After(int count)
    {
        var state = start.Copy();
        for (var i = 0; i < count; i++)
            effects[i].Apply(state);
        return state;
    }

    /// <summary>The number of effects after which the store is as it was found, between the two; -1 where there is none.</summary>
    public int Find(StoreReading found, int low, int high)
    {
        if (found.IsWhole)
        {
            for (var k = low; k <= high; k++)
            {
                if (hashes[k] == found.Hash)
                    return k;
            }

            return -1;
        }

        // Something could not be read: whatever could be must fit one state.
        var state = After(low);
        for (var k = low; k <= high; k++)
        {
            if (found.FindDifference(state) is null)
                return k;
            if (k < high)
                effects[k].Apply(state);
        }

        return -1;
    }

    /// <summary>Why what was found is no legal state: how it differs from the nearest ones.</summary>
    public string Explain(StoreReading found, int low, int high)
    {
        var text = new StringBuilder($"the store is in no legal state: {low} effects were durable, {high} were issued");
        var state = start.Copy();
        for (var k = 0; k <= effects.Count; k++)
        {
            if (k >= low - 1 && k <= high + 1)
                text.Append($"\n  after {k}{(k > 0 ? $" ({effects[k - 1]})" : "")}: {found.FindDifference(state) ?? "as it was found"}");
            else if (found.FindDifference(state) is null)
                text.Append($"\n  it is as it was after {k}");
            if (k < effects.Count)
                effects[k].Apply(state);
        }

        return text.ToString();
    }
}
