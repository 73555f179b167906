namespace CowScsi.Scsi;

/// <summary>RESERVE and RELEASE of 6 and 10 bytes (SPC-2, 7.16, 7.17, 7.21 and 7.22): the whole logical unit, for one I_T nexus.</summary>
internal static class ReserveCommands
{
    /// <summary>
    /// With persistent reservations about, it is good for those who have what they ask for already, and changes nothing; for all others it
    /// conflicts (SPC-5, 5.14.4: CRH is one).
    /// </summary>
    public static async ValueTask Reserve(ItlNexus itl, ScsiCommand command)
    {
        var turn = await itl.Unit.ReservationLane.EnterAsync();
        try
        {
            if (!command.Task.IsAbortRequested && !IsAnsweredByPersistent(itl, command) && !itl.Unit.TryReserve(itl))
                command.Status = ScsiStatus.ReservationConflict;
        }
        finally
        {
            turn.End();
        }
    }

    /// <summary>Good even where there is nothing to release.</summary>
    public static async ValueTask Release(ItlNexus itl, ScsiCommand command)
    {
        var turn = await itl.Unit.ReservationLane.EnterAsync();
        try
        {
            if (!command.Task.IsAbortRequested && !IsAnsweredByPersistent(itl, command))
                itl.Unit.ReleaseReservation(itl);
        }
        finally
        {
            turn.End();
        }
    }

    private static bool IsAnsweredByPersistent(ItlNexus itl, ScsiCommand command)
    {
        var state = itl.Unit.Reservations;
        if (state.Registrations.Count == 0)
            return false;
        var nexus = itl.Nexus.Name;
        var hasRight = state.Type != ReservationType.None &&
            (state.IsHolder(nexus) || (ReservationTypes.IsOpenToRegistrants(state.Type) && state.Find(nexus) is not null));
        if (!hasRight)
            command.Status = ScsiStatus.ReservationConflict;
        return true;
    }
}
