namespace CowScsi.Scsi;

/// <summary>
/// The power condition that a START STOP UNIT asked for (SBC-4, 4.20). There is nothing to save: it is kept to be told, by REQUEST SENSE,
/// until a command needs the medium. It ends with the process.
/// </summary>
internal enum PowerCondition : byte
{
    Active = 0,
    Idle = 1,
    Standby = 2,
}
