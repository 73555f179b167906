namespace CowScsi.Scsi;

/// <summary>Sense keys of SPC-5, 4.5.6.</summary>
public enum SenseKey : byte
{
    NoSense = 0x0,
    NotReady = 0x2,
    MediumError = 0x3,
    HardwareError = 0x4,
    IllegalRequest = 0x5,
    UnitAttention = 0x6,
    DataProtect = 0x7,
    CopyAborted = 0xA,
    AbortedCommand = 0xB,
    Miscompare = 0xE,
}

/// <summary>A sense key with its additional sense code and qualifier: any value of SPC-5, annex F, or vendor-specific ones from 80h on.</summary>
public readonly record struct SenseCode(SenseKey Key, byte Asc, byte Ascq);

/// <summary>Every sense code this product reports, by the name the standard gives it (SPC-5, annex F).</summary>
public static class SenseCodes
{
    public static readonly SenseCode NoSense = new(SenseKey.NoSense, 0x00, 0x00);
    public static readonly SenseCode IdleByCommand = new(SenseKey.NoSense, 0x5E, 0x03);
    public static readonly SenseCode StandbyByCommand = new(SenseKey.NoSense, 0x5E, 0x04);

    public static readonly SenseCode NotReadyCauseNotReportable = new(SenseKey.NotReady, 0x04, 0x00);
    public static readonly SenseCode NotReadyManualInterventionRequired = new(SenseKey.NotReady, 0x04, 0x03);
    public static readonly SenseCode TargetPortInStandbyState = new(SenseKey.NotReady, 0x04, 0x0B);
    public static readonly SenseCode TargetPortInUnavailableState = new(SenseKey.NotReady, 0x04, 0x0C);
    public static readonly SenseCode FormatInProgress = new(SenseKey.NotReady, 0x04, 0x04);
    public static readonly SenseCode SelfTestInProgress = new(SenseKey.NotReady, 0x04, 0x09);
    public static readonly SenseCode SanitizeInProgress = new(SenseKey.NotReady, 0x04, 0x1B);
    public static readonly SenseCode MediumNotPresent = new(SenseKey.NotReady, 0x3A, 0x00);

    public static readonly SenseCode WriteError = new(SenseKey.MediumError, 0x0C, 0x00);
    public static readonly SenseCode UnrecoveredReadError = new(SenseKey.MediumError, 0x11, 0x00);

    public static readonly SenseCode FormatCommandFailed = new(SenseKey.MediumError, 0x31, 0x01);
    public static readonly SenseCode SanitizeCommandFailed = new(SenseKey.MediumError, 0x31, 0x03);

    public static readonly SenseCode FailedSelfTest = new(SenseKey.HardwareError, 0x3E, 0x03);
    public static readonly SenseCode InternalTargetFailure = new(SenseKey.HardwareError, 0x44, 0x00);

    public static readonly SenseCode OperationInProgress = new(SenseKey.IllegalRequest, 0x00, 0x16);
    public static readonly SenseCode InvalidFieldInCommandInformationUnit = new(SenseKey.IllegalRequest, 0x0E, 0x03);
    public static readonly SenseCode ParameterListLengthError = new(SenseKey.IllegalRequest, 0x1A, 0x00);
    public static readonly SenseCode InvalidCommandOperationCode = new(SenseKey.IllegalRequest, 0x20, 0x00);
    public static readonly SenseCode LogicalBlockAddressOutOfRange = new(SenseKey.IllegalRequest, 0x21, 0x00);
    public static readonly SenseCode UnsupportedTokenType = new(SenseKey.IllegalRequest, 0x23, 0x01);
    public static readonly SenseCode TokenUnknown = new(SenseKey.IllegalRequest, 0x23, 0x04);
    public static readonly SenseCode TokenCorrupt = new(SenseKey.IllegalRequest, 0x23, 0x05);
    public static readonly SenseCode TokenRevoked = new(SenseKey.IllegalRequest, 0x23, 0x06);
    public static readonly SenseCode TokenExpired = new(SenseKey.IllegalRequest, 0x23, 0x07);
    public static readonly SenseCode TokenDeleted = new(SenseKey.IllegalRequest, 0x23, 0x09);
    public static readonly SenseCode InvalidTokenLength = new(SenseKey.IllegalRequest, 0x23, 0x0A);
    public static readonly SenseCode InvalidFieldInCdb = new(SenseKey.IllegalRequest, 0x24, 0x00);
    public static readonly SenseCode LogicalUnitNotSupported = new(SenseKey.IllegalRequest, 0x25, 0x00);
    public static readonly SenseCode InvalidFieldInParameterList = new(SenseKey.IllegalRequest, 0x26, 0x00);
    public static readonly SenseCode InvalidReleaseOfPersistentReservation = new(SenseKey.IllegalRequest, 0x26, 0x04);
    public static readonly SenseCode TooManyTargetDescriptors = new(SenseKey.IllegalRequest, 0x26, 0x06);
    public static readonly SenseCode UnsupportedTargetDescriptorTypeCode = new(SenseKey.IllegalRequest, 0x26, 0x07);
    public static readonly SenseCode TooManySegmentDescriptors = new(SenseKey.IllegalRequest, 0x26, 0x08);
    public static readonly SenseCode UnsupportedSegmentDescriptorTypeCode = new(SenseKey.IllegalRequest, 0x26, 0x09);
    public static readonly SenseCode InlineDataLengthExceeded = new(SenseKey.IllegalRequest, 0x26, 0x0B);
    public static readonly SenseCode SavingParametersNotSupported = new(SenseKey.IllegalRequest, 0x39, 0x00);
    public static readonly SenseCode InvalidMessageError = new(SenseKey.IllegalRequest, 0x49, 0x00);
    public static readonly SenseCode MediumRemovalPrevented = new(SenseKey.IllegalRequest, 0x53, 0x02);
    public static readonly SenseCode InsufficientRegistrationResources = new(SenseKey.IllegalRequest, 0x55, 0x04);

    public static readonly SenseCode InsufficientResourcesToCreateRodToken = new(SenseKey.IllegalRequest, 0x55, 0x0D);

    public static readonly SenseCode NotReadyToReadyChange = new(SenseKey.UnitAttention, 0x28, 0x00);
    public static readonly SenseCode PowerOnOrReset = new(SenseKey.UnitAttention, 0x29, 0x00);
    public static readonly SenseCode ScsiBusReset = new(SenseKey.UnitAttention, 0x29, 0x02);
    public static readonly SenseCode BusDeviceReset = new(SenseKey.UnitAttention, 0x29, 0x03);
    public static readonly SenseCode NexusLoss = new(SenseKey.UnitAttention, 0x29, 0x07);
    public static readonly SenseCode ModeParametersChanged = new(SenseKey.UnitAttention, 0x2A, 0x01);
    public static readonly SenseCode ReservationsPreempted = new(SenseKey.UnitAttention, 0x2A, 0x03);
    public static readonly SenseCode ReservationsReleased = new(SenseKey.UnitAttention, 0x2A, 0x04);
    public static readonly SenseCode RegistrationsPreempted = new(SenseKey.UnitAttention, 0x2A, 0x05);
    public static readonly SenseCode AsymmetricAccessStateChanged = new(SenseKey.UnitAttention, 0x2A, 0x06);
    public static readonly SenseCode LogParametersChanged = new(SenseKey.UnitAttention, 0x2A, 0x02);
    public static readonly SenseCode CapacityDataHasChanged = new(SenseKey.UnitAttention, 0x2A, 0x09);
    public static readonly SenseCode CommandsClearedByAnotherInitiator = new(SenseKey.UnitAttention, 0x2F, 0x00);
    public static readonly SenseCode ThinProvisioningSoftThresholdReached = new(SenseKey.UnitAttention, 0x38, 0x07);
    public static readonly SenseCode ReportedLunsDataHasChanged = new(SenseKey.UnitAttention, 0x3F, 0x0E);

    public static readonly SenseCode WriteProtected = new(SenseKey.DataProtect, 0x27, 0x00);
    public static readonly SenseCode SoftwareWriteProtected = new(SenseKey.DataProtect, 0x27, 0x02);
    public static readonly SenseCode SpaceAllocationFailed = new(SenseKey.DataProtect, 0x27, 0x07);

    public static readonly SenseCode CopyAbortedNoAdditionalSense = new(SenseKey.CopyAborted, 0x00, 0x00);
    public static readonly SenseCode UnreachableCopyTarget = new(SenseKey.CopyAborted, 0x08, 0x04);
    public static readonly SenseCode ThirdPartyDeviceFailure = new(SenseKey.CopyAborted, 0x0D, 0x01);
    public static readonly SenseCode CopyTargetDeviceNotReachable = new(SenseKey.CopyAborted, 0x0D, 0x02);
    public static readonly SenseCode IncorrectCopyTargetDeviceType = new(SenseKey.CopyAborted, 0x0D, 0x03);
    public static readonly SenseCode UnexpectedInexactSegment = new(SenseKey.CopyAborted, 0x26, 0x0A);
    public static readonly SenseCode InvalidOperationForCopyTarget = new(SenseKey.CopyAborted, 0x26, 0x0C);

    public static readonly SenseCode MiscompareDuringVerify = new(SenseKey.Miscompare, 0x1D, 0x00);

    /// <summary>Why a port in standby or unavailable does not carry out a command (SPC-5, 5.18.2.4).</summary>
    internal static SenseCode OfPortAccess(PortAccess access) =>
        access == PortAccess.Standby ? TargetPortInStandbyState : TargetPortInUnavailableState;
}
