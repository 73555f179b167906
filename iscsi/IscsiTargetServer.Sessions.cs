using System.Net;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;
using CowScsi.Iscsi.Sockets;

namespace CowScsi.Iscsi;

/// <summary>The targets by name and the sessions by their identity; guarded by one lock, which the data path never takes.</summary>
public sealed partial class IscsiTargetServer
{
    private readonly Lock state = new();
    private readonly SortedDictionary<string, TargetEntry> targets = new(StringComparer.Ordinal);
    private readonly Dictionary<SessionKey, Session> normalSessions = [];
    private readonly Dictionary<ushort, Session> sessions = [];
    private ushort lastTsih;

    /// <summary>Sessions at this moment, discovery sessions included.</summary>
    public int SessionCount
    {
        get
        {
            lock (state)
                return sessions.Count;
        }
    }

    /// <summary>The sessions at this moment, discovery sessions included, oldest first.</summary>
    public IReadOnlyList<IscsiSessionInfo> Sessions
    {
        get
        {
            var infos = CurrentSessions(null).ConvertAll(static session => session.Describe());
            infos.Sort(static (a, b) => a.Since.CompareTo(b.Since));
            return infos;
        }
    }

    /// <summary>
    /// The session of a login that has succeeded: a new one, or the one that the login joins. Where <paramref name="older"/> comes back,
    /// that session has the same identity and must end first; then the call is made again.
    /// </summary>
    internal LoginStatus TryFindSession(LoginExchange login, uint firstCmdSN, out Session? found, out Session? older)
    {
        found = null;
        older = null;
        var parameters = login.Parameters;
        var key = new SessionKey(parameters.TargetName, login.Origin.GroupTag, parameters.InitiatorName, login.Isid);
        lock (state)
        {
            if (login.Tsih != 0)
            {
                if (!sessions.TryGetValue(login.Tsih, out var joined) || joined.Key != key)
                    return LoginStatus.SessionDoesNotExist;
                if (!AccessOf(joined.Target).Admits(parameters.InitiatorName, login.Origin.Address, login.ProvedUser))
                    return LoginStatus.AuthorizationFailure;
                found = joined;
                return LoginStatus.Success;
            }

            if (!parameters.IsDiscovery && normalSessions.TryGetValue(key, out older))
                return LoginStatus.Success;
            if (!HasRoomFor(login))
                return LoginStatus.OutOfResources;
            TargetEntry? target = null;
            if (!parameters.IsDiscovery && !targets.TryGetValue(parameters.TargetName, out target))
                return LoginStatus.TargetRemoved;
            // The rules may have changed while the login went on.
            if (!AccessOf(target).Admits(parameters.InitiatorName, login.Origin.Address, login.ProvedUser))
                return LoginStatus.AuthorizationFailure;
            found = new Session(this, LeastBusyLoop(), target, login, key, NextTsih(), firstCmdSN, Options.CommandWindow);
            found.Loop.CountSession(1);
            sessions.Add(found.Tsih, found);
            if (!parameters.IsDiscovery)
                normalSessions.Add(key, found);
            return LoginStatus.Success;
        }
    }

    /// <summary>Whether a session may have a connection from this address.</summary>
    internal bool IsAdmitted(Session session, IPAddress? address)
    {
        lock (state)
            return AccessOf(session.Target).Admits(session.Key.InitiatorName, address, session.User);
    }

    internal void OnSessionEnded(Session session)
    {
        lock (state)
        {
            sessions.Remove(session.Tsih);
            if (!session.Parameters.IsDiscovery)
                normalSessions.Remove(session.Key);
        }
    }

    internal void DropOtherSessions(Session except, string reason)
    {
        foreach (var session in CurrentSessions(except.Target))
        {
            if (session != except)
                session.RequestDrop(reason);
        }
    }

    private bool HasRoomFor(LoginExchange login)
    {
        var fromAddress = 0;
        var discovering = 0;
        Session? oldest = null;
        foreach (var session in sessions.Values)
        {
            if (Equals(session.Address, login.Origin.Address))
                fromAddress++;
            if (!session.Parameters.IsDiscovery)
                continue;
            discovering++;
            if (oldest is null || session.Since < oldest.Since)
                oldest = session;
        }

        if (sessions.Count >= Options.SessionsMax || fromAddress >= Options.SessionsPerAddressMax)
            return false;
        if (login.Parameters.IsDiscovery && discovering >= Options.DiscoverySessionsMax)
            oldest!.RequestClose("gave way to a newer discovery session");
        return true;
    }

    private IscsiAccess AccessOf(TargetEntry? target) => target is null ? discoveryAccess : target.Access;

    private List<Session> CurrentSessions(TargetEntry? target)
    {
        lock (state)
        {
            List<Session> current = [];
            foreach (var session in sessions.Values)
            {
                if (target is null || session.Target == target)
                    current.Add(session);
            }

            return current;
        }
    }

    private EventLoop LeastBusyLoop()
    {
        // The last one on a tie: the first loop has the logins.
        var best = loops[^1];
        foreach (var loop in loops)
        {
            if (loop.SessionCount < best.SessionCount)
                best = loop;
        }

        return best;
    }

    private ushort NextTsih()
    {
        do
            lastTsih++;
        while (lastTsih == 0 || sessions.ContainsKey(lastTsih));
        return lastTsih;
    }
}
