namespace CowScsi.Tcmu;

/// <summary>How a device is presented by the kernel.</summary>
public sealed record TcmuOptions
{
    public static readonly TcmuOptions Default = new();

    /// <summary>Size of the command ring, 1 to 8 MiB; Linux before 6.0 always has 8. A 4 KiB command takes 128 bytes of it.</summary>
    public int RingMebibytes { get; init; } = 8;

    /// <summary>
    /// Memory for the data of the commands under way, 1 MiB or more: pages are taken as they are needed. 128 MiB hold 128 commands of the
    /// largest size; what has no room waits in the kernel.
    /// </summary>
    public int DataAreaMebibytes { get; init; } = 128;

    /// <summary>Largest transfer that the kernel is told of (hw_max_sectors), a multiple of 4096 bytes.</summary>
    public int TransferBytesMax { get; init; } = 1 << 20;

    /// <summary>
    /// After this time the kernel itself ends a command with an error, which a disk of Linux passes on; 0 for never. It bounds how long
    /// anything waits for a process that is gone, and is the time in which the next one can take over without an error.
    /// </summary>
    public int CommandTimeoutSeconds { get; init; } = 120;

    /// <summary>
    /// Whether the kernel answers PERSISTENT RESERVE and RESERVE itself, for the initiators of its fabrics alone. It has to where a fabric
    /// has several initiators, since all of them are one nexus of the logical unit. False: the logical unit does, and a reservation counts
    /// for everybody who has it.
    /// </summary>
    public bool KernelReserves { get; init; }

    /// <summary>
    /// Whether whoever changes the device in configfs waits until that has been carried out, and is told where it cannot be
    /// (nl_reply_supported). It asks the kernel to wait for every program that answers for devices of its own (TCMU_CMD_SET_FEATURES).
    /// </summary>
    public bool AwaitsReplies { get; init; }

    /// <summary>Throws ArgumentOutOfRangeException where a figure is out of its range.</summary>
    public void Check()
    {
        ArgumentOutOfRangeException.ThrowIfLessThan(RingMebibytes, 1);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(RingMebibytes, 8);
        ArgumentOutOfRangeException.ThrowIfLessThan(DataAreaMebibytes, 1);
        ArgumentOutOfRangeException.ThrowIfLessThan(TransferBytesMax, 4096);
        ArgumentOutOfRangeException.ThrowIfNotEqual(TransferBytesMax % 4096, 0, nameof(TransferBytesMax));
        ArgumentOutOfRangeException.ThrowIfGreaterThan(TransferBytesMax, (long)DataAreaMebibytes << 20, nameof(TransferBytesMax));
        ArgumentOutOfRangeException.ThrowIfNegative(CommandTimeoutSeconds);
    }
}
