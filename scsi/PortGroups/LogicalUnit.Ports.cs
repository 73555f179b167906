namespace CowScsi.Scsi;

/// <content>The target ports that reach the logical unit, and the access state of each of their groups. All of it is guarded by the gate.</content>
public sealed partial class LogicalUnit
{
    /// <summary>Targets that the logical unit is mapped under, once for each LUN.</summary>
    private readonly List<ScsiTarget> ports = [];

    /// <summary>States by target port group; a group that is not here is active/optimized, as all are at first.</summary>
    private readonly Dictionary<ushort, PortGroupState> groups = [];

    /// <summary>The target ports by which the logical unit is reached, each once.</summary>
    internal List<ScsiTarget> Ports()
    {
        var distinct = new List<ScsiTarget>();
        lock (gate)
        {
            foreach (var port in ports)
            {
                if (!distinct.Contains(port))
                    distinct.Add(port);
            }
        }

        return distinct;
    }

    internal void AddPort(ScsiTarget target)
    {
        lock (gate)
            ports.Add(target);
    }

    internal void RemovePort(ScsiTarget target)
    {
        lock (gate)
            ports.Remove(target);
    }

    /// <summary>The state of a port group, and how it came to be.</summary>
    internal PortGroupState StateOf(ushort group)
    {
        lock (gate)
            return groups.GetValueOrDefault(group, PortGroupState.Initial);
    }

    /// <summary>
    /// Sets the states of port groups at an initiator's wish, at once and all together; nexuses at ports whose state changes learn it by unit
    /// attention, but for the one that asked.
    /// </summary>
    internal void SetPortGroups(ItlNexus requester, ReadOnlySpan<PortGroupChange> changes)
    {
        lock (gate)
        {
            var hasChanged = false;
            foreach (var (group, state) in changes)
            {
                hasChanged |= groups.GetValueOrDefault(group, PortGroupState.Initial).Access != state;
                groups[group] = new PortGroupState(state, PortGroupCause.SetTargetPortGroups);
            }

            foreach (var itl in nexuses)
                itl.PortAccess = groups.GetValueOrDefault(itl.Nexus.Target.PortGroupId, PortGroupState.Initial).Access;
            if (hasChanged)
                EstablishForOthers(requester, UnitAttention.AsymmetricAccessStateChanged);
        }
    }
}
