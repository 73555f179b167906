using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Scsi;

namespace CowScsi.Vdisk.Serving;

/// <summary>
/// What the logical unit of a disk keeps, as settings of the store (docs/format.md, "Settings"). They go with the disk when it is deleted.
/// </summary>
internal sealed class DiskMemory(DiskStore store, Guid disk) : ILogicalUnitMemory
{
    private readonly string prefix = DiskStore.UnitSettingsOf(disk);

    public ReadOnlyMemory<byte>? Load(string name) => store.FindSetting(prefix + name);

    /// <summary>A change of a setting waits for the device, so it is made on a thread that may.</summary>
    public async ValueTask<bool> SaveAsync(string name, ReadOnlyMemory<byte>? value) => await Task.Run(() => Save(name, value));

    private bool Save(string name, ReadOnlyMemory<byte>? value)
    {
        try
        {
            store.ChangeSettings([new SettingChange(prefix + name, value)]);
            return true;
        }
        catch (StoreException)
        {
            // Out of space, or a log that takes nothing more, which the operator was told of when it stopped.
            return false;
        }
    }
}
