using System.Net;
using System.Net.Sockets;
using System.Text;
using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;

namespace CowScsi.Iscsi;

/// <summary>The portals: opened and closed while the server runs, and named to initiators that ask.</summary>
public sealed partial class IscsiTargetServer
{
    /// <summary>Portal group tags have 16 bits, and 0 is none (RFC 7143, 13.9).</summary>
    private const int GroupTagMax = 65535;

    private readonly List<Listener> listeners = [];

    /// <summary>The addresses that are listened on, with the ports that the system chose; empty before <see cref="Start"/>.</summary>
    public IReadOnlyList<IPEndPoint> Portals
    {
        get
        {
            lock (state)
                return listeners.ConvertAll(static listener => listener.Portal.EndPoint);
        }
    }

    /// <summary>Listens on one more address, at once.</summary>
    /// <param name="address">IPv4 or IPv6; port 0 takes a free one.</param>
    /// <param name="groupTag">The portal group that it belongs to, 1 to 65535.</param>
    /// <returns>The address with its real port.</returns>
    /// <exception cref="SocketException">It cannot be listened on.</exception>
    /// <exception cref="InvalidOperationException">The server does not run.</exception>
    public IPEndPoint AddPortal(IPEndPoint address, int groupTag = IscsiPortal.DefaultGroupTag)
    {
        ArgumentNullException.ThrowIfNull(address);
        ArgumentOutOfRangeException.ThrowIfLessThan(groupTag, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(groupTag, GroupTagMax);
        var listener = new Listener(this, address, groupTag);
        lock (state)
        {
            if (isStarted && stopping is null)
            {
                Open(listener);
                return listener.Portal.EndPoint;
            }
        }

        listener.Close();
        throw new InvalidOperationException("portals are added while the server runs");
    }

    /// <summary>
    /// Listens on an address no longer; sessions that came by it go on. Completes when the port is free; false where it was not
    /// listened on.
    /// </summary>
    public async Task<bool> RemovePortalAsync(IPEndPoint address)
    {
        ArgumentNullException.ThrowIfNull(address);
        Listener? removed;
        lock (state)
        {
            removed = listeners.Find(listener => listener.Portal.EndPoint.Equals(address));
            if (removed is null || stopping is not null)
                return false;
            listeners.Remove(removed);
        }

        await CloseListenersAsync([removed]);
        return true;
    }

    /// <summary>
    /// Appends the SendTargets answer for one name, or for all targets where the name is null (RFC 7143, appendix C): those that the
    /// asking initiator may log in to.
    /// </summary>
    internal void DescribeTargets(string? name, Session session, IPEndPoint? reachedAt, StringBuilder text)
    {
        lock (state)
        {
            foreach (var target in targets.Values)
            {
                if ((name is not null && name != target.Name) || !target.Access.Admits(session.Key.InitiatorName, session.Address))
                    continue;
                TextKeys.Append(text, "TargetName", target.Name);
                foreach (var listener in listeners)
                {
                    if (NameOf(listener.Portal, reachedAt) is { } address)
                        TextKeys.Append(text, "TargetAddress", $"{address},{listener.Portal.GroupTag}");
                }
            }
        }
    }

    /// <summary>
    /// What an initiator calls a portal. One on "any address" is named by the address that the initiator reached this server at, and
    /// has no name for initiators of the other address family.
    /// </summary>
    private static IPEndPoint? NameOf(IscsiPortal portal, IPEndPoint? reachedAt)
    {
        var end = portal.EndPoint;
        if (!end.Address.Equals(IPAddress.Any) && !end.Address.Equals(IPAddress.IPv6Any))
            return end;
        return reachedAt is not null && reachedAt.AddressFamily == end.AddressFamily ? new IPEndPoint(reachedAt.Address, end.Port) : null;
    }

    /// <summary>With the lock held: the first loop takes connections from then on.</summary>
    private void Open(Listener listener)
    {
        listeners.Add(listener);
        loops[0].Post(() => loops[0].Add(listener));
    }

    private List<Listener> TakeListeners()
    {
        lock (state)
        {
            List<Listener> all = [.. listeners];
            listeners.Clear();
            return all;
        }
    }

    private Task CloseListenersAsync(List<Listener> closing) => OnFirstLoopAsync(() => closing.ForEach(static listener => listener.Close()));
}
