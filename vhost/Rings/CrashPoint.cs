using System.Runtime.CompilerServices;

namespace CowScsi.VhostUser.Rings;

/// <summary>
/// The moments between two stores to memory that outlives this process: where a kill may hit. A test that turns the switch on is told of
/// each and may end the back end there; without it the compiler removes them all.
/// </summary>
internal static class CrashPoint
{
    public const string Switch = "CowScsi.VhostUser.CrashPoints";

    private static readonly bool IsWatched = AppContext.TryGetSwitch(Switch, out var isOn) && isOn;

    /// <summary>Called at each point that this thread reaches.</summary>
    [ThreadStatic]
    public static Action? Reached;

    [MethodImpl(MethodImplOptions.AggressiveInlining)]
    public static void Reach()
    {
        if (IsWatched)
            Reached?.Invoke();
    }
}
