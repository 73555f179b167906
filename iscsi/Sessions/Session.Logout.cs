using CowScsi.Iscsi.Connections;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Sessions;

/// <summary>
/// Logout, RFC 7143, 11.14: the tasks of what is closed end before the response says that it is closed. One at a time in a session.
/// </summary>
internal sealed partial class Session
{
    /// <param name="Closing">The connection that ends; null for the whole session.</param>
    private sealed record PendingLogout(IscsiConnection Asking, uint InitiatorTaskTag, IscsiConnection? Closing);

    private PendingLogout? logout;

    /// <summary>Begins a logout; false where another one is under way.</summary>
    public bool TryLogOut(IscsiConnection asking, uint initiatorTaskTag, IscsiConnection? closing)
    {
        if (logout is not null)
            return false;
        logout = new PendingLogout(asking, initiatorTaskTag, closing);
        foreach (var connection in connections.ToArray())
        {
            if (closing is null || connection == closing)
                connection.BeginLogout();
        }

        foreach (var connection in connections.ToArray())
        {
            if (closing is null || connection == closing)
                EndTasksOf(connection);
        }

        TryFinishLogout();
        return true;
    }

    /// <summary>Who asked for a logout is gone: what was to be closed is closed without a response.</summary>
    private void OnLogoutAbandoned(IscsiConnection closed)
    {
        if (logout is not { } pending || pending.Asking != closed)
            return;
        logout = null;
        if (pending.Closing is null)
            CloseOthers(closed);
        else
            pending.Closing.Close(null);
    }

    private void TryFinishLogout()
    {
        if (logout is not { } pending || isClosed)
            return;
        if (pending.Closing is null ? Tasks.Count > 0 : HasTasksOf(pending.Closing))
            return;
        logout = null;
        if (pending.Closing is { } closing && closing != pending.Asking)
            closing.Close(null);
        else
            pending.Asking.EndLogout(pending.InitiatorTaskTag);
        if (pending.Closing is null)
            CloseOthers(pending.Asking);
        else if (pending.Closing != pending.Asking)
            pending.Asking.SendLogoutResponse(pending.InitiatorTaskTag, LogoutResult.Closed);
        Loop.Touch(pending.Asking);
    }
}
