using System.Numerics;

namespace CowScsi.Scsi;

/// <summary>
/// Unit attention conditions, in the order in which they are reported: what says most comes first (SAM-5, 5.14, table of precedence).
/// </summary>
internal enum UnitAttention
{
    PowerOnOrReset = 0,
    ScsiBusReset = 1,
    BusDeviceReset = 2,
    NexusLoss = 3,
    CommandsCleared = 4,
    MediumMayHaveChanged = 5,
    ReportedLunsDataHasChanged = 6,
    CapacityDataHasChanged = 7,
    ModeParametersChanged = 8,
    ReservationsPreempted = 9,
    ReservationsReleased = 10,
    RegistrationsPreempted = 11,
    AsymmetricAccessStateChanged = 12,
    LogParametersChanged = 13,
    ThresholdReached = 14,
}

/// <summary>
/// The unit attention conditions pending for one I_T_L nexus: one bit each, so that a condition is pending once however often it is
/// established. Safe for any number of threads.
/// </summary>
internal struct UnitAttentionSet
{
    /// <summary>A reset of any kind tells the initiator to forget what it knew: the milder ones are not reported beside it.</summary>
    private const uint ResetMask = (1u << (int)UnitAttention.NexusLoss) | ((1u << (int)UnitAttention.NexusLoss) - 1);

    private uint pending;

    public readonly bool IsEmpty => Volatile.Read(in pending) == 0;

    public void Establish(UnitAttention condition) => Interlocked.Or(ref pending, 1u << (int)condition);

    public void Clear(UnitAttention condition) => Interlocked.And(ref pending, ~(1u << (int)condition));

    /// <summary>Takes the condition to report next; false where none is pending.</summary>
    public bool TryTake(out UnitAttention condition)
    {
        while (true)
        {
            var seen = Volatile.Read(ref pending);
            if (seen == 0)
            {
                condition = default;
                return false;
            }

            condition = (UnitAttention)BitOperations.TrailingZeroCount(seen);
            var left = seen & (seen - 1);
            if ((seen & ResetMask) != 0)
                left &= ~ResetMask;
            if (Interlocked.CompareExchange(ref pending, left, seen) == seen)
                return true;
        }
    }

    public static SenseCode Sense(UnitAttention condition) => condition switch
    {
        UnitAttention.PowerOnOrReset => SenseCodes.PowerOnOrReset,
        UnitAttention.ScsiBusReset => SenseCodes.ScsiBusReset,
        UnitAttention.BusDeviceReset => SenseCodes.BusDeviceReset,
        UnitAttention.NexusLoss => SenseCodes.NexusLoss,
        UnitAttention.CommandsCleared => SenseCodes.CommandsClearedByAnotherInitiator,
        UnitAttention.MediumMayHaveChanged => SenseCodes.NotReadyToReadyChange,
        UnitAttention.ReportedLunsDataHasChanged => SenseCodes.ReportedLunsDataHasChanged,
        UnitAttention.CapacityDataHasChanged => SenseCodes.CapacityDataHasChanged,
        UnitAttention.ModeParametersChanged => SenseCodes.ModeParametersChanged,
        UnitAttention.ReservationsPreempted => SenseCodes.ReservationsPreempted,
        UnitAttention.ReservationsReleased => SenseCodes.ReservationsReleased,
        UnitAttention.RegistrationsPreempted => SenseCodes.RegistrationsPreempted,
        UnitAttention.AsymmetricAccessStateChanged => SenseCodes.AsymmetricAccessStateChanged,
        UnitAttention.LogParametersChanged => SenseCodes.LogParametersChanged,
        UnitAttention.ThresholdReached => SenseCodes.ThinProvisioningSoftThresholdReached,
        _ => throw new ArgumentOutOfRangeException(nameof(condition)),
    };
}
