using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>SYNCHRONIZE CACHE, START STOP UNIT and PREVENT ALLOW MEDIUM REMOVAL.</summary>
internal static class MediumCommands
{
    private const byte StartBit = 0x01;
    private const byte LoadEjectBit = 0x02;
    private const byte NoFlushBit = 0x04;
    private const byte PowerConditionMask = 0xF0;
    private const int PowerConditionShift = 4;
    private const byte PreventBit = 0x01;

    /// <summary>What docs/scsi.md says of it.</summary>
    public const string PowerConditionsLeftOut =
        "Nothing is saved and the logical unit stays ready: idle and standby are told by REQUEST SENSE, until a command needs the medium, a reset, or a " +
        "restart. Reserved power conditions are taken and change nothing.";

    /// <summary>POWER CONDITION field (SBC-4, 5.31).</summary>
    private enum PowerConditionField : byte
    {
        Active = 0x1,
        Idle = 0x2,
        Standby = 0x3,
        LogicalUnitControl = 0x7,
        ForceIdle = 0xA,
        ForceStandby = 0xB,
    }

    /// <summary>START STOP UNIT that starts, which takes nothing from anybody (SBC-4, 4.17).</summary>
    public static bool Starts(ReadOnlySpan<byte> cdb) => (cdb[4] & (StartBit | PowerConditionMask)) == StartBit;

    /// <summary>PREVENT ALLOW MEDIUM REMOVAL that allows (SPC-5, 5.14.1).</summary>
    public static bool Allows(ReadOnlySpan<byte> cdb) => (cdb[4] & PreventBit) == 0;

    /// <summary>
    /// SYNCHRONIZE CACHE of 10 and 16 bytes (SBC-4, 5.36 and 5.37). A flush covers the whole device, so the range is only checked;
    /// status always waits for the flush, which IMMED permits but does not require to be left out.
    /// </summary>
    public static ValueTask SynchronizeCache(ItlNexus itl, ScsiCommand command)
    {
        var device = itl.Unit.Device;
        var geometry = device.Geometry;
        var range = BlockRange.Decode(command.Cdb, geometry.LogicalBlockBytes);
        if (!range.IsOn(geometry))
        {
            command.FailOutOfRange(range.Lba);
            return default;
        }

        return Flush(device, geometry, command);
    }

    /// <summary>
    /// START STOP UNIT (SBC-4, 5.31). A virtual disk has no spindle: stopping makes everything durable, and it stays ready. Power
    /// conditions are kept to be told; standby makes everything durable too. LOEJ ejects and loads a removable medium.
    /// </summary>
    public static ValueTask StartStopUnit(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var action = command.Cdb[4];
        if ((action & PowerConditionMask) != 0)
            return ChangePower(unit, command, (PowerConditionField)(action >> PowerConditionShift), (action & NoFlushBit) == 0);

        var starts = (action & StartBit) != 0;
        if (starts)
            unit.Power = PowerCondition.Active;
        if ((action & LoadEjectBit) != 0)
        {
            if (starts)
            {
                if (!unit.TryLoadMedium(itl))
                    command.Fail(SenseCodes.MediumRemovalPrevented);
                return default;
            }

            if (unit.IsRemovalPrevented)
            {
                command.Fail(SenseCodes.MediumRemovalPrevented);
                return default;
            }

            return EjectAsync(itl, command);
        }

        return starts || (action & NoFlushBit) != 0 || !unit.IsMediumPresent
            ? default
            : Flush(unit.Device, unit.Device.Geometry, command);
    }

    /// <summary>
    /// There are no timers (mode page 1Ah has none enabled), so forcing one to end is the condition itself, and giving the control back to
    /// the logical unit makes it active.
    /// </summary>
    private static ValueTask ChangePower(LogicalUnit unit, ScsiCommand command, PowerConditionField field, bool flushes)
    {
        switch (field)
        {
            case PowerConditionField.Active or PowerConditionField.LogicalUnitControl:
                unit.Power = PowerCondition.Active;
                return default;
            case PowerConditionField.Idle or PowerConditionField.ForceIdle:
                unit.Power = PowerCondition.Idle;
                return default;
            case PowerConditionField.Standby or PowerConditionField.ForceStandby:
                unit.Power = PowerCondition.Standby;
                return flushes && unit.IsMediumPresent ? Flush(unit.Device, unit.Device.Geometry, command) : default;
            default:
                return default; // Reserved ones; foreign suites send them all.
        }
    }

    /// <summary>PREVENT ALLOW MEDIUM REMOVAL (SBC-4, 5.15): each I_T nexus holds the medium for itself.</summary>
    public static ValueTask PreventAllow(ItlNexus itl, ScsiCommand command)
    {
        itl.Unit.SetPreventsRemoval(itl, (command.Cdb[4] & PreventBit) != 0);
        return default;
    }

    private static ValueTask Flush(BlockDevice device, BlockGeometry geometry, ScsiCommand command)
    {
        var pending = device.FlushAsync();
        if (!pending.IsCompletedSuccessfully)
            return TransferCommands.FinishAsync(pending, command, geometry);
        TransferCommands.Finish(pending.Result, command, geometry);
        return default;
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private static async ValueTask EjectAsync(ItlNexus itl, ScsiCommand command)
    {
        var unit = itl.Unit;
        var geometry = unit.Device.Geometry;
        var flushed = await unit.Device.FlushAsync();
        if (!flushed.IsSuccess)
            command.Fail(flushed, geometry.LogicalBlockBytes);
        else if (!unit.TryEjectMedium())
            command.Fail(SenseCodes.MediumRemovalPrevented);
    }
}
