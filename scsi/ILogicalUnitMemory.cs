namespace CowScsi.Scsi;

/// <summary>
/// Small named values that a logical unit keeps across restarts and crashes: reservations under APTPL, saved mode pages. A logical unit
/// without one announces nothing that it would need it for.
/// </summary>
/// <remarks>Members may be called from any thread. Whoever saves a value awaits that before it saves the same one again.</remarks>
public interface ILogicalUnitMemory
{
    /// <summary>Longest value, in bytes.</summary>
    public const int ValueBytesMax = 32768;

    /// <summary>The value that was last made durable; null where there is none.</summary>
    /// <param name="name">1 to 32 characters: letters, digits and hyphens.</param>
    ReadOnlyMemory<byte>? Load(string name);

    /// <summary>
    /// Stores a value, or removes it where it is null. It does not wait on the calling thread, and completes on another one.
    /// </summary>
    /// <param name="name">As of <see cref="Load"/>.</param>
    /// <param name="value">At most <see cref="ValueBytesMax"/> bytes, not changed by the caller before the call has completed.</param>
    /// <returns>
    /// True where it is durable. False where it could not be stored: <see cref="Load"/> then gives the old value or the new one, but a
    /// crash need not.
    /// </returns>
    ValueTask<bool> SaveAsync(string name, ReadOnlyMemory<byte>? value);
}
