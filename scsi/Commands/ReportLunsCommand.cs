using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>REPORT LUNS (SPC-5, 6.34), answered for every LUN, whether there is a logical unit or not.</summary>
internal static class ReportLunsCommand
{
    private const byte SelectAllButWellKnown = 0x00;
    private const byte SelectWellKnown = 0x01;
    private const byte SelectAll = 0x02;
    private const int SelectField = 2;
    private const int AllocationField = 6;

    /// <summary>SPC-5, 6.34: an allocation length below 16 bytes is an invalid field.</summary>
    private const int AllocationBytesMin = 16;

    private const int LunBytes = 8;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        Answer(itl.Nexus, command);
        return default;
    }

    public static void Answer(Nexus nexus, ScsiCommand command)
    {
        var select = command.Cdb[SelectField];
        if (select > SelectAll)
        {
            command.FailCdb(SelectField);
            return;
        }

        var allocationBytes = BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[AllocationField..]);
        if (allocationBytes < AllocationBytesMin)
        {
            command.FailCdb(AllocationField);
            return;
        }

        nexus.ClearReportedLunsChange();
        var luns = nexus.Target.Luns;
        var hasUnits = select != SelectWellKnown;
        var hasWellKnown = select != SelectAllButWellKnown;
        var count = (hasUnits ? luns.Count : 0) + (hasWellKnown ? 1 : 0);
        var writer = new AllocationWriter(command, allocationBytes);
        writer.WriteUInt32((uint)(count * LunBytes));
        writer.WriteUInt32(0);
        if (hasUnits)
        {
            for (var i = 0; i < luns.Count; i++)
                writer.WriteUInt64(ScsiLun.FromNumber(luns[i].Key));
        }

        if (hasWellKnown)
            writer.WriteUInt64(ScsiLun.ReportLunsWellKnown);
        writer.Complete();
    }
}
