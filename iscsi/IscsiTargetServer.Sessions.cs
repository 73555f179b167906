using System.Net;
using System.Text;
using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;
using CowScsi.Iscsi.Sockets;
using CowScsi.Scsi;

namespace CowScsi.Iscsi;

/// <summary>The targets by name and the sessions by their identity; guarded by one lock, which the data path never takes.</summary>
public sealed partial class IscsiTargetServer
{
    /// <summary>All portals are one portal group (RFC 7143, 4.4.1).</summary>
    private const string PortalGroupTag = "1";

    private readonly Lock state = new();
    private readonly SortedDictionary<string, TargetEntry> targets = new(StringComparer.Ordinal);
    private readonly Dictionary<SessionKey, Session> normalSessions = [];
    private readonly Dictionary<ushort, Session> sessions = [];
    private ushort lastTsih;

    /// <summary>The iSCSI names that are offered now, in order.</summary>
    public IReadOnlyList<string> TargetNames
    {
        get
        {
            lock (state)
                return [.. targets.Keys];
        }
    }

    /// <summary>Sessions at this moment, discovery sessions included.</summary>
    public int SessionCount
    {
        get
        {
            lock (state)
                return sessions.Count;
        }
    }

    /// <summary>Offers a target, at once. It stays the caller's.</summary>
    /// <param name="iqn">Its iSCSI name: iqn., eui. or naa.; RFC 7143, 4.2.7.</param>
    /// <param name="target">What is behind it.</param>
    /// <param name="credentials">CHAP that an initiator has to pass; null for none.</param>
    /// <exception cref="ArgumentException">The name is malformed or taken.</exception>
    public void AddTarget(string iqn, ScsiTarget target, IscsiChapCredentials? credentials = null)
    {
        ArgumentNullException.ThrowIfNull(iqn);
        ArgumentNullException.ThrowIfNull(target);
        if (!IscsiName.IsValid(iqn))
            throw new ArgumentException($"'{iqn}' is not an iSCSI name", nameof(iqn));
        var name = IscsiName.Normalize(iqn);
        lock (state)
        {
            if (!targets.TryAdd(name, new TargetEntry(name, target, credentials)))
                throw new ArgumentException($"target '{name}' exists", nameof(iqn));
        }
    }

    /// <summary>
    /// Withdraws a target: no new session begins, the present ones are asked to log out and then ended. Completes when none is left;
    /// false where there was no such target.
    /// </summary>
    public async Task<bool> RemoveTargetAsync(string iqn)
    {
        ArgumentNullException.ThrowIfNull(iqn);
        TargetEntry? removed;
        lock (state)
        {
            if (!targets.Remove(IscsiName.Normalize(iqn), out removed))
                return false;
        }

        await EndSessionsAsync(CurrentSessions(removed), "target removed");
        return true;
    }

    internal LoginExchange BeginLogin() => new(offer, Admit, PortalGroupTag);

    /// <summary>
    /// Registers the session of a login that has succeeded. Where <paramref name="older"/> comes back, that session has the same
    /// identity and must end first; then the call is made again.
    /// </summary>
    internal LoginStatus TryCreateSession(
        IscsiConnection connection, LoginExchange login, uint firstCmdSN, out Session? created, out Session? older)
    {
        created = null;
        older = null;
        var parameters = login.Parameters;
        var key = new SessionKey(parameters.TargetName, parameters.InitiatorName, login.Isid);
        lock (state)
        {
            if (login.Tsih != 0)
            {
                // MaxConnections is 1: a session that exists has its connection.
                var isKnown = sessions.TryGetValue(login.Tsih, out var joined) && joined.Key == key;
                return isKnown ? LoginStatus.TooManyConnections : LoginStatus.SessionDoesNotExist;
            }

            if (!parameters.IsDiscovery && normalSessions.TryGetValue(key, out older))
                return LoginStatus.Success;
            if (sessions.Count >= Options.SessionsMax)
                return LoginStatus.OutOfResources;
            TargetEntry? target = null;
            if (!parameters.IsDiscovery && !targets.TryGetValue(parameters.TargetName, out target))
                return LoginStatus.TargetRemoved;
            created = new Session(this, LeastBusyLoop(), target, parameters, key, NextTsih(), firstCmdSN, Options.CommandWindow)
            {
                Connection = connection,
            };
            created.Loop.CountSession(1);
            sessions.Add(created.Tsih, created);
            if (!parameters.IsDiscovery)
                normalSessions.Add(key, created);
            return LoginStatus.Success;
        }
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

    internal void CloseOtherSessions(Session except, string reason)
    {
        foreach (var session in CurrentSessions(except.Target))
        {
            if (session != except)
                session.RequestClose(reason);
        }
    }

    /// <summary>Appends the SendTargets answer for one name, or for all targets where the name is null (RFC 7143, appendix C).</summary>
    internal void DescribeTargets(string? name, EndPoint? reachedAt, StringBuilder text)
    {
        lock (state)
        {
            foreach (var target in targets.Values)
            {
                if (name is not null && name != target.Name)
                    continue;
                TextKeys.Append(text, "TargetName", target.Name);
                foreach (var portal in portals)
                {
                    // A portal on "any address" is named by the address that the initiator reached it at.
                    var isAny = portal.Address.Equals(IPAddress.Any) || portal.Address.Equals(IPAddress.IPv6Any);
                    var address = isAny && reachedAt is IPEndPoint reached && reached.AddressFamily == portal.AddressFamily
                        ? new IPEndPoint(reached.Address, portal.Port)
                        : portal;
                    TextKeys.Append(text, "TargetAddress", $"{address},{PortalGroupTag}");
                }
            }
        }
    }

    private TargetAdmission Admit(SessionParameters parameters)
    {
        if (parameters.IsDiscovery)
            return Admission(Options.DiscoveryCredentials);
        lock (state)
        {
            return targets.TryGetValue(parameters.TargetName, out var target)
                ? Admission(target.Credentials)
                : new TargetAdmission(LoginStatus.NotFound, null);
        }
    }

    private static TargetAdmission Admission(IscsiChapCredentials? credentials) =>
        new(LoginStatus.Success, credentials is null ? null : new ChapExchange(credentials));

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
