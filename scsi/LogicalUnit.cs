using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A direct-access block logical unit (SBC-4) over a block device. It may be mapped under several targets at once; its task set, mode
/// parameters and medium state are then shared, as SAM-5 has it.
/// </summary>
public sealed class LogicalUnit
{
    /// <summary>Presents <paramref name="device"/>, which stays the caller's to dispose of, after <see cref="CloseAsync"/>.</summary>
    public LogicalUnit(BlockDevice device, LogicalUnitIdentity identity, LogicalUnitOptions options)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(identity);
        ArgumentNullException.ThrowIfNull(options);
        Device = device;
        Identity = identity;
        Options = options;
    }

    public BlockDevice Device { get; }

    public LogicalUnitIdentity Identity { get; }

    public LogicalUnitOptions Options { get; }

    /// <summary>
    /// Takes no further command, and completes once the last task has ended: the device is not touched after that. Remove the logical
    /// unit from its targets first, so that initiators are told.
    /// </summary>
    public ValueTask CloseAsync() => ValueTask.CompletedTask;
}
