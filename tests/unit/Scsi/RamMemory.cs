using CowScsi.Scsi;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>A logical unit's memory whose fault model the test owns: saves can fail, or wait until they are released.</summary>
internal sealed class RamMemory : ILogicalUnitMemory
{
    private readonly Dictionary<string, byte[]> values = new(StringComparer.Ordinal);
    private TaskCompletionSource? held;

    /// <summary>Saves are refused, and change nothing.</summary>
    public bool IsFull { get; set; }

    public int Saves { get; private set; }

    /// <summary>A value as it is kept; null where there is none.</summary>
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

    public ReadOnlyMemory<byte>? Load(string name) => this[name] is { } value ? value : default(ReadOnlyMemory<byte>?);

    public async ValueTask<bool> SaveAsync(string name, ReadOnlyMemory<byte>? value)
    {
        if (held is { } waiting)
            await waiting.Task;
        if (IsFull)
            return false;
        lock (values)
        {
            Saves++;
            if (value is { } bytes)
                values[name] = bytes.ToArray();
            else
                values.Remove(name);
        }

        return true;
    }
}
