using CowScsi.Scsi;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>A logical unit's memory whose fault model the test owns: it outlives the unit, and refuses to save, or waits with it, where told.</summary>
internal sealed class UnitMemory : ILogicalUnitMemory
{
    private readonly Dictionary<string, byte[]> values = [];
    private TaskCompletionSource? held;

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

    /// <summary>Saves wait until <see cref="Release"/>.</summary>
    public void Hold() => held = new TaskCompletionSource(TaskCreationOptions.RunContinuationsAsynchronously);

    public void Release()
    {
        var waiting = held;
        held = null;
        waiting?.SetResult();
    }

    public ReadOnlyMemory<byte>? Load(string name) => this[name] is { } value ? value : (ReadOnlyMemory<byte>?)null;

    public async ValueTask<bool> SaveAsync(string name, ReadOnlyMemory<byte>? value)
    {
        if (held is { } waiting)
            await waiting.Task;
        if (Refuses)
            return false;
        lock (values)
        {
            if (value is { } bytes)
                values[name] = bytes.ToArray();
            else
                values.Remove(name);
        }

        return true;
    }
}
