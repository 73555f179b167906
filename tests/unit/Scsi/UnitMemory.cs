using CowScsi.Scsi;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>A logical unit's memory whose fault model the test owns: it outlives the unit, and refuses to save where told.</summary>
internal sealed class UnitMemory : ILogicalUnitMemory
{
    private readonly Dictionary<string, byte[]> values = [];

    public bool Refuses { get; set; }

    public byte[]? this[string name]
    {
        get
        {
            lock (values)
                return values.GetValueOrDefault(name);
        }
        set
        {
            lock (values)
                values[name] = value!;
        }
    }

    public ReadOnlyMemory<byte>? Load(string name) => this[name] is { } value ? value : (ReadOnlyMemory<byte>?)null;

    public ValueTask<bool> SaveAsync(string name, ReadOnlyMemory<byte>? value)
    {
        if (Refuses)
            return new(false);
        lock (values)
        {
            if (value is { } bytes)
                values[name] = bytes.ToArray();
            else
                values.Remove(name);
        }

        return new(true);
    }
}
