using System.Diagnostics.CodeAnalysis;

namespace CowScsi.Scsi;

/// <summary>
/// The targets that copy among each other's logical units: what their copy managers (SPC-4, 5.17) have in common. Every member may be called
/// from any thread.
/// </summary>
/// <remarks>
/// An initiator can name every logical unit of its own I_T nexus, and of the other targets where the same initiator device is logged in at
/// that moment; nothing else resolves, whatever is asked for.
/// </remarks>
public sealed class CopyDomain
{
    private readonly Lock gate = new();
    private readonly List<WeakReference<ScsiTarget>> targets = [];
    private int copies;

    /// <param name="milliseconds">
    /// A clock that only goes forward, for the inactivity timeouts of ROD tokens; null where they need not expire.
    /// </param>
    public CopyDomain(Func<long>? milliseconds = null) => Tokens = new RodTokenTable(milliseconds ?? (static () => 0));

    /// <summary>Copies under way.</summary>
    public int CopyCount => Volatile.Read(ref copies);

    internal RodTokenTable Tokens { get; }

    internal void Add(ScsiTarget target)
    {
        lock (gate)
        {
            targets.RemoveAll(static known => !known.TryGetTarget(out _));
            targets.Add(new WeakReference<ScsiTarget>(target));
        }
    }

    /// <summary>Takes one of the places for copies under way; false where all are taken.</summary>
    internal bool TryBegin()
    {
        if (Interlocked.Increment(ref copies) <= CopyLimits.CopiesMax)
            return true;
        Interlocked.Decrement(ref copies);
        return false;
    }

    internal void End() => Interlocked.Decrement(ref copies);

    /// <summary>The way of an initiator to the logical unit that a CSCD descriptor names.</summary>
    internal bool TryResolve(Nexus nexus, CscdDescriptor descriptor, [NotNullWhen(true)] out ItlNexus? found)
    {
        if (TryFind(nexus, descriptor, out found))
            return true;
        List<Nexus> others = [];
        lock (gate)
        {
            foreach (var known in targets)
            {
                if (known.TryGetTarget(out var target) && target != nexus.Target)
                    target.AddNexusesOf(nexus.InitiatorDeviceName, others);
            }
        }

        foreach (var other in others)
        {
            if (TryFind(other, descriptor, out found))
                return true;
        }

        return false;
    }

    private static bool TryFind(Nexus nexus, CscdDescriptor descriptor, [NotNullWhen(true)] out ItlNexus? found)
    {
        foreach (var itl in nexus.Units)
        {
            if (itl is null || !descriptor.Names(itl.Unit))
                continue;
            found = itl;
            return true;
        }

        found = null;
        return false;
    }
}
