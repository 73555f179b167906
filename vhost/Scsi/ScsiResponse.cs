namespace CowScsi.VhostUser.Scsi;

/// <summary>Responses of a virtio SCSI device (virtio 1.2, 5.6.6.1.2 and 5.6.6.2).</summary>
internal enum ScsiResponse : byte
{
    Ok = 0,
    Overrun = 1,
    Aborted = 2,
    BadTarget = 3,
    Reset = 4,
    Busy = 5,
    TransportFailure = 6,
    TargetFailure = 7,
    NexusFailure = 8,
    Failure = 9,
    FunctionSucceeded = 10,
    FunctionRejected = 11,
    IncorrectLun = 12,
}

/// <summary>Requests on the control queue (5.6.6.2).</summary>
internal enum ControlRequestType : uint
{
    TaskManagement = 0,
    NotificationQuery = 1,
    NotificationSubscribe = 2,
}

/// <summary>Events (5.6.6.3); <see cref="EventsMissed"/> is added to any of them.</summary>
internal static class ScsiEvent
{
    public const uint EventsMissed = 0x8000_0000;
    public const uint None = 0;
    public const uint TransportReset = 1;
    public const uint ParameterChange = 3;

    public const uint ReasonRescan = 1;
    public const uint ReasonRemoved = 2;

    /// <summary>Additional sense code in the lower byte, its qualifier above: CAPACITY DATA HAS CHANGED (2A/09).</summary>
    public const uint ReasonCapacityChanged = 0x092A;

    /// <summary>event 0 (4), lun 4 (8), reason 12 (4).</summary>
    public const int Bytes = 16;
}
