using System.Collections.Frozen;

namespace CowScsi.VhostUser.Messages;

/// <summary>
/// What a message of the front end looks like: stated once, and checked before anything looks at the message. Payload sizes are bytes.
/// </summary>
/// <param name="Message">The request type.</param>
/// <param name="PayloadBytesMin">Smallest payload.</param>
/// <param name="PayloadBytesMax">Largest payload.</param>
/// <param name="DescriptorsMin">Fewest descriptors that may come with it.</param>
/// <param name="DescriptorsMax">Most descriptors.</param>
/// <param name="Reply">How it is answered.</param>
/// <param name="Needs">The protocol feature that must have been negotiated.</param>
internal sealed record MessageRule(
    FrontEndMessage Message,
    int PayloadBytesMin,
    int PayloadBytesMax,
    int DescriptorsMin = 0,
    int DescriptorsMax = 0,
    ReplyRule Reply = ReplyRule.OnRequest,
    ProtocolFeatures Needs = ProtocolFeatures.None)
{
    /// <summary>Bytes of the header in front of each payload: request, flags, size.</summary>
    public const int HeaderBytes = 12;

    /// <summary>The lower two bits of the flags: version 1.</summary>
    public const uint VersionMask = 3;
    public const uint Version = 1;
    public const uint ReplyFlag = 4;
    public const uint NeedReplyFlag = 8;

    /// <summary>Regions in one memory table, and descriptors with one message (VHOST_MEMORY_BASELINE_NREGIONS).</summary>
    public const int TableRegionsMax = 8;

    public const int NumberBytes = 8;
    public const int RingStateBytes = 8;
    public const int RingAddressBytes = 40;
    public const int TableHeaderBytes = 8;
    public const int RegionBytes = 32;
    public const int SingleRegionBytes = 8 + RegionBytes;
    public const int LogBytes = 16;
    public const int ConfigHeaderBytes = 12;

    /// <summary>VHOST_USER_MAX_CONFIG_SIZE: no device has a larger configuration space.</summary>
    public const int ConfigBytesMax = 256;

    /// <summary>Inflight description: two numbers of 64 bits, two of 16. QEMU's structure is padded to a multiple of eight.</summary>
    public const int InflightBytesMin = 20;
    public const int InflightBytesMax = 24;

    /// <summary>No known message has a longer payload; a longer one is refused by its header.</summary>
    public const int PayloadBytesLimit = 512;

    private static readonly FrozenDictionary<uint, MessageRule> Rules = new MessageRule[]
    {
        new(FrontEndMessage.GetFeatures, 0, 0, Reply: ReplyRule.Always),
        new(FrontEndMessage.SetFeatures, NumberBytes, NumberBytes),
        new(FrontEndMessage.SetOwner, 0, 0),
        new(FrontEndMessage.ResetOwner, 0, 0),
        new(FrontEndMessage.SetMemoryTable, TableHeaderBytes, TableHeaderBytes + (TableRegionsMax * RegionBytes), 0, TableRegionsMax),
        new(FrontEndMessage.SetLogBase, LogBytes, LogBytes, 1, 1, ReplyRule.Always, ProtocolFeatures.LogSharedMemory),
        new(FrontEndMessage.SetLogDescriptor, 0, NumberBytes, 1, 1),
        new(FrontEndMessage.SetRingSize, RingStateBytes, RingStateBytes),
        new(FrontEndMessage.SetRingAddress, RingAddressBytes, RingAddressBytes),
        new(FrontEndMessage.SetRingBase, RingStateBytes, RingStateBytes),
        new(FrontEndMessage.GetRingBase, RingStateBytes, RingStateBytes, Reply: ReplyRule.Always),
        new(FrontEndMessage.SetRingKick, NumberBytes, NumberBytes, 0, 1),
        new(FrontEndMessage.SetRingCall, NumberBytes, NumberBytes, 0, 1),
        new(FrontEndMessage.SetRingError, NumberBytes, NumberBytes, 0, 1),
        new(FrontEndMessage.GetProtocolFeatures, 0, 0, Reply: ReplyRule.Always),
        new(FrontEndMessage.SetProtocolFeatures, NumberBytes, NumberBytes),
        new(FrontEndMessage.GetQueueCount, 0, 0, Reply: ReplyRule.Always, Needs: ProtocolFeatures.MultiQueue),
        new(FrontEndMessage.SetRingEnable, RingStateBytes, RingStateBytes),
        new(FrontEndMessage.SetBackEndSocket, 0, NumberBytes, 1, 1, Needs: ProtocolFeatures.BackEndRequests),
        new(FrontEndMessage.GetConfig, ConfigHeaderBytes, ConfigHeaderBytes + ConfigBytesMax, Reply: ReplyRule.Always, Needs: ProtocolFeatures.Config),
        new(FrontEndMessage.SetConfig, ConfigHeaderBytes, ConfigHeaderBytes + ConfigBytesMax, Needs: ProtocolFeatures.Config),
        new(FrontEndMessage.GetInflight, InflightBytesMin, InflightBytesMax, Reply: ReplyRule.Always, Needs: ProtocolFeatures.InflightSharedMemory),
        new(FrontEndMessage.SetInflight, InflightBytesMin, InflightBytesMax, 1, 1, Needs: ProtocolFeatures.InflightSharedMemory),
        new(FrontEndMessage.ResetDevice, 0, 0, Needs: ProtocolFeatures.ResetDevice),
        new(FrontEndMessage.GetMemorySlotsMax, 0, 0, Reply: ReplyRule.Always, Needs: ProtocolFeatures.ConfigureMemorySlots),
        new(FrontEndMessage.AddMemoryRegion, SingleRegionBytes, SingleRegionBytes, 1, 1, Needs: ProtocolFeatures.ConfigureMemorySlots),
        // A descriptor with this one is a known mistake of front ends; it is closed unused.
        new(FrontEndMessage.RemoveMemoryRegion, SingleRegionBytes, SingleRegionBytes, 0, 1, Needs: ProtocolFeatures.ConfigureMemorySlots),
        new(FrontEndMessage.SetStatus, NumberBytes, NumberBytes, Needs: ProtocolFeatures.Status),
        new(FrontEndMessage.GetStatus, 0, 0, Reply: ReplyRule.Always, Needs: ProtocolFeatures.Status),
    }.ToFrozenDictionary(static rule => (uint)rule.Message);

    public static MessageRule? Find(uint request) => Rules.GetValueOrDefault(request);

    /// <summary>All messages that are known.</summary>
    public static IEnumerable<MessageRule> All => Rules.Values;

    /// <summary>The reason why a header is refused; null where it may be followed by its payload.</summary>
    public static string? Explain(uint request, uint flags, uint sizeBytes, int descriptorCount, ProtocolFeatures negotiated)
    {
        if (Find(request) is not { } rule)
            return $"message {request} is not known";
        if ((flags & VersionMask) != Version)
            return $"{rule.Message} has version {flags & VersionMask}; this is version {Version}";
        if ((flags & ReplyFlag) != 0)
            return $"{rule.Message} is marked as a reply";
        if (sizeBytes < rule.PayloadBytesMin || sizeBytes > rule.PayloadBytesMax)
            return $"{rule.Message} has a payload of {sizeBytes} bytes, not {rule.PayloadRange}";
        if (descriptorCount < rule.DescriptorsMin || descriptorCount > rule.DescriptorsMax)
            return $"{rule.Message} came with {descriptorCount} descriptor(s), not {rule.DescriptorRange}";
        return (negotiated & rule.Needs) == rule.Needs ? null : $"{rule.Message} needs the protocol feature {rule.Needs}, which was not negotiated";
    }

    private string PayloadRange => PayloadBytesMin == PayloadBytesMax ? $"{PayloadBytesMin}" : $"{PayloadBytesMin} to {PayloadBytesMax}";

    private string DescriptorRange => DescriptorsMin == DescriptorsMax ? $"{DescriptorsMin}" : $"{DescriptorsMin} to {DescriptorsMax}";
}
