using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Sessions;
using CowScsi.Scsi;

namespace CowScsi.Iscsi;

/// <summary>Targets, who may use them, and where they are instead. All of it may change while the server runs.</summary>
public sealed partial class IscsiTargetServer
{
    private IscsiAccess discoveryAccess = IscsiAccess.Everyone;

    /// <summary>The iSCSI names that are offered now, in order.</summary>
    public IReadOnlyList<string> TargetNames
    {
        get
        {
            lock (state)
                return [.. targets.Keys];
        }
    }

    /// <summary>Who may hold a discovery session; everyone unless told otherwise. What it names depends on each target's own rules.</summary>
    public IscsiAccess DiscoveryAccess
    {
        get
        {
            lock (state)
                return discoveryAccess;
        }
    }

    /// <summary>Offers a target, at once. It stays the caller's.</summary>
    /// <param name="iqn">Its iSCSI name: iqn., eui. or naa.; RFC 7143, 4.2.7.</param>
    /// <param name="target">What is behind it.</param>
    /// <param name="access">Who may log in; null for everyone.</param>
    /// <exception cref="ArgumentException">
    /// The name is malformed or taken, or the rules contradict themselves (<see cref="IscsiAccess.Validate"/>).
    /// </exception>
    public void AddTarget(string iqn, ScsiTarget target, IscsiAccess? access = null)
    {
        ArgumentNullException.ThrowIfNull(iqn);
        ArgumentNullException.ThrowIfNull(target);
        if (!IscsiName.IsValid(iqn))
            throw new ArgumentException($"'{iqn}' is not an iSCSI name", nameof(iqn));
        access ??= IscsiAccess.Everyone;
        access.Validate();
        var name = IscsiName.Normalize(iqn);
        lock (state)
        {
            if (!targets.TryAdd(name, new TargetEntry(name, target, access)))
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

    /// <summary>
    /// Changes who may log in to a target: for logins from now on, and sessions that the new rules would refuse are ended (by name,
    /// address, or a CHAP user that is gone or has another secret). Completes when those are gone; false where there is no such target.
    /// </summary>
    /// <exception cref="ArgumentException">The rules contradict themselves (<see cref="IscsiAccess.Validate"/>).</exception>
    public async Task<bool> SetAccessAsync(string iqn, IscsiAccess access)
    {
        ArgumentNullException.ThrowIfNull(iqn);
        ArgumentNullException.ThrowIfNull(access);
        access.Validate();
        TargetEntry? target;
        lock (state)
        {
            if (!targets.TryGetValue(IscsiName.Normalize(iqn), out target))
                return false;
            target.Access = access;
        }

        await CutOffAsync(CurrentSessions(target).FindAll(session => !session.IsAdmittedBy(access)));
        return true;
    }

    /// <summary>Changes who may hold a discovery session; completes when those are gone that no longer may.</summary>
    /// <exception cref="ArgumentException">The rules contradict themselves (<see cref="IscsiAccess.Validate"/>).</exception>
    public async Task SetDiscoveryAccessAsync(IscsiAccess access)
    {
        ArgumentNullException.ThrowIfNull(access);
        access.Validate();
        lock (state)
            discoveryAccess = access;
        await CutOffAsync(CurrentSessions(null).FindAll(session => session.Target is null && !session.IsAdmittedBy(access)));
    }

    /// <summary>
    /// Sends later logins to a target elsewhere; null serves them here again. Present sessions go on, as do logins that reach the very
    /// portal of the redirection. False where there is no such target.
    /// </summary>
    public bool SetRedirection(string iqn, IscsiRedirection? redirection)
    {
        ArgumentNullException.ThrowIfNull(iqn);
        lock (state)
        {
            if (!targets.TryGetValue(IscsiName.Normalize(iqn), out var target))
                return false;
            target.Redirection = redirection;
            return true;
        }
    }

    internal LoginExchange BeginLogin(LoginOrigin origin) => new(offer, origin, parameters => Admit(parameters, origin));

    private async Task CutOffAsync(List<Session> refused)
    {
        foreach (var session in refused)
            session.RequestDrop("access withdrawn");
        await Task.WhenAll(refused.ConvertAll(static session => session.Ended));
    }

    private TargetAdmission Admit(SessionParameters parameters, LoginOrigin origin)
    {
        lock (state)
        {
            if (parameters.IsDiscovery)
                return Admission(discoveryAccess, parameters, origin);
            if (!targets.TryGetValue(parameters.TargetName, out var target))
                return new TargetAdmission(LoginStatus.NotFound);
            var admission = Admission(target.Access, parameters, origin);
            // Who may not log in is not told where the target went.
            if (admission.Status != LoginStatus.Success || target.Redirection is not { } elsewhere || elsewhere.To.Equals(origin.ReachedAt))
                return admission;
            return new TargetAdmission(
                elsewhere.IsPermanent ? LoginStatus.TargetMovedPermanently : LoginStatus.TargetMovedTemporarily,
                TargetAddress: elsewhere.TargetAddress);
        }
    }

    private static TargetAdmission Admission(IscsiAccess access, SessionParameters parameters, LoginOrigin origin)
    {
        if (!access.Admits(parameters.InitiatorName, origin.Address))
            return new TargetAdmission(LoginStatus.AuthorizationFailure);
        return new TargetAdmission(LoginStatus.Success, access.Users.Count == 0 ? null : new ChapExchange(access));
    }
}
