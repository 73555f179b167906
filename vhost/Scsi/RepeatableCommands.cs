namespace CowScsi.VhostUser.Scsi;

/// <summary>
/// What may be carried out again after a back end ended in the middle of it: a command that leaves the same state, and gives the same
/// answer, when it is done twice in the order in which it came. All others are answered with "aborted", so that the initiator looks
/// before it goes on: COMPARE AND WRITE would miscompare with itself, a reservation would be refused to its own holder.
/// </summary>
internal static class RepeatableCommands
{
    public static bool Contains(ReadOnlySpan<byte> cdb) => cdb[0] switch
    {
        0x00 or 0x03 or 0x12 or 0x1A or 0x5A or 0xA0 or 0xA3 => true, // TEST UNIT READY, REQUEST SENSE, INQUIRY, MODE SENSE, REPORT LUNS, MAINTENANCE IN
        0x08 or 0x28 or 0xA8 or 0x88 => true, // READ
        0x0A or 0x2A or 0xAA or 0x8A or 0x9C => true, // WRITE, WRITE ATOMIC
        0x2E or 0xAE or 0x8E or 0x2F or 0xAF or 0x8F => true, // WRITE AND VERIFY, VERIFY
        0x35 or 0x91 or 0x34 or 0x90 => true, // SYNCHRONIZE CACHE, PRE-FETCH
        0x41 or 0x93 or 0x42 => true, // WRITE SAME, UNMAP
        0x25 or 0x37 or 0xB7 or 0x4D => true, // READ CAPACITY, READ DEFECT DATA, LOG SENSE
        0x9E => true, // SERVICE ACTION IN: READ CAPACITY(16), GET LBA STATUS
        0x7F => cdb[8] == 0x00 && cdb[9] is >= 0x09 and <= 0x0D, // READ, VERIFY, WRITE, WRITE AND VERIFY, WRITE SAME (32)
        0x5E => true, // PERSISTENT RESERVE IN
        _ => false,
    };
}
