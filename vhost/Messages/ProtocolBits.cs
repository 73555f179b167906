namespace CowScsi.VhostUser.Messages;

/// <summary>Feature bits of a virtio device that concern transport and rings (virtio 1.2, clause 6), and the two that vhost adds.</summary>
[Flags]
internal enum VirtioFeatures : ulong
{
    None = 0,

    /// <summary>VIRTIO_F_NOTIFY_ON_EMPTY, for drivers of before virtio 1.0.</summary>
    NotifyOnEmpty = 1UL << 24,

    /// <summary>VHOST_F_LOG_ALL: what the device writes to guest memory is marked in the log.</summary>
    LogAll = 1UL << 26,

    IndirectDescriptors = 1UL << 28,
    EventIndex = 1UL << 29,

    /// <summary>VHOST_USER_F_PROTOCOL_FEATURES: no bit of the device; the messages 15 and 16 exist.</summary>
    ProtocolFeatures = 1UL << 30,

    Version1 = 1UL << 32,
    RingPacked = 1UL << 34,
}

/// <summary>VHOST_USER_PROTOCOL_F_*: extensions of the message protocol.</summary>
[Flags]
internal enum ProtocolFeatures : ulong
{
    None = 0,
    MultiQueue = 1UL << 0,
    LogSharedMemory = 1UL << 1,
    ReplyAck = 1UL << 3,
    BackEndRequests = 1UL << 5,
    Config = 1UL << 9,
    InflightSharedMemory = 1UL << 12,
    ResetDevice = 1UL << 13,
    ConfigureMemorySlots = 1UL << 15,
    Status = 1UL << 16,

    All = MultiQueue | LogSharedMemory | ReplyAck | BackEndRequests | Config | InflightSharedMemory | ResetDevice | ConfigureMemorySlots | Status,
}

/// <summary>Messages that the front end sends (VHOST_USER_*).</summary>
internal enum FrontEndMessage : uint
{
    GetFeatures = 1,
    SetFeatures = 2,
    SetOwner = 3,
    ResetOwner = 4,
    SetMemoryTable = 5,
    SetLogBase = 6,
    SetLogDescriptor = 7,
    SetRingSize = 8,
    SetRingAddress = 9,
    SetRingBase = 10,
    GetRingBase = 11,
    SetRingKick = 12,
    SetRingCall = 13,
    SetRingError = 14,
    GetProtocolFeatures = 15,
    SetProtocolFeatures = 16,
    GetQueueCount = 17,
    SetRingEnable = 18,
    SetBackEndSocket = 21,
    GetConfig = 24,
    SetConfig = 25,
    GetInflight = 31,
    SetInflight = 32,
    ResetDevice = 34,
    GetMemorySlotsMax = 36,
    AddMemoryRegion = 37,
    RemoveMemoryRegion = 38,
    SetStatus = 39,
    GetStatus = 40,
}

/// <summary>Messages that the back end sends on the socket of <see cref="FrontEndMessage.SetBackEndSocket"/>.</summary>
internal enum BackEndMessage : uint
{
    /// <summary>VHOST_USER_BACKEND_CONFIG_CHANGE_MSG.</summary>
    ConfigChanged = 2,
}

/// <summary>How a message is answered.</summary>
internal enum ReplyRule : byte
{
    /// <summary>Only where the front end asks (REPLY_ACK): zero for success.</summary>
    OnRequest = 1,

    /// <summary>Always, with a payload of its own.</summary>
    Always = 2,
}
