using System.Collections.Concurrent;
using System.Text;

namespace CowScsi.Tests.Property;

internal enum DiskCall : byte
{
    Open,
    Create,
    Delete,
    Rename,
    List,
    Sync,
    Read,
    Write,
    Flush,
    Allocate,
    SetLength,
}

/// <summary>What can go wrong, by the numbers of docs/testing.md's fault model.</summary>
internal enum DiskFault : byte
{
    None,

    /// <summary>F8, F11, F12: EIO.</summary>
    Error,

    /// <summary>F9: ENOSPC.</summary>
    OutOfSpace,

    /// <summary>F13 to F15: one bit of what is stored.</summary>
    FlippedBit,

    /// <summary>F16: a write lands elsewhere in its file.</summary>
    MisdirectedWrite,

    /// <summary>F17: a write that says yes and is not done.</summary>
    LostWrite,

    /// <summary>F17: a read returns another place's bytes.</summary>
    MisdirectedRead,

    /// <summary>F17: a read returns what the place held when the store was opened.</summary>
    StaleRead,

    /// <summary>F18: a flush that says yes and is not done.</summary>
    LyingFlush,

    /// <summary>F19, F20: a file is gone.</summary>
    MissingFile,

    /// <summary>F19, F20: a file lost its end.</summary>
    CutFile,

    /// <summary>F19, F20: a file is that of an earlier time.</summary>
    OldFile,
}

/// <summary>A fault that is to happen at a call.</summary>
/// <param name="Fault">What.</param>
/// <param name="Call">Which kind of call it meets.</param>
/// <param name="NameStart">Of files whose name starts so.</param>
/// <param name="After">Calls that go well before.</param>
/// <param name="Times">Calls that fail then.</param>
/// <param name="Seed">Chooses places.</param>
internal sealed record PlannedFault(DiskFault Fault, DiskCall Call, string NameStart, int After, int Times, int Seed)
{
    public int Met { get; set; }

    public override string ToString() => $"{Fault} at {Call} of '{NameStart}*' after {After}, {Times} times";
}

/// <summary>Faults that are to come, and a count of those that came, by kind and place, over the whole run.</summary>
internal sealed class DiskFaults
{
    private static readonly ConcurrentDictionary<string, int> Counts = new(StringComparer.Ordinal);

    private readonly List<PlannedFault> planned = [];

    /// <summary>Faults that happened on this disk.</summary>
    public int Injected { get; private set; }

    public void Plan(PlannedFault fault) => planned.Add(fault);

    public void Clear() => planned.Clear();

    public PlannedFault? Next(DiskCall call, string name)
    {
        foreach (var fault in planned)
        {
            if (fault.Call != call || !name.StartsWith(fault.NameStart, StringComparison.Ordinal))
                continue;
            fault.Met++;
            if (fault.Met <= fault.After || fault.Met > fault.After + fault.Times)
                continue;
            Count(fault.Fault, call.ToString());
            Injected++;
            return fault;
        }

        return null;
    }

    public static void Count(DiskFault fault, string where) => Counts.AddOrUpdate($"{fault} ({where})", 1, static (_, count) => count + 1);

    public static string Summary()
    {
        var text = new StringBuilder();
        foreach (var (kind, count) in Counts.OrderBy(static pair => pair.Key, StringComparer.Ordinal))
            text.Append(text.Length == 0 ? "" : ", ").Append(count).Append(" x ").Append(kind);
        return text.ToString();
    }
}
