namespace CowScsi.Layers;

/// <summary>Room for a device's data, and what it takes. Both change at any time, also by what others do.</summary>
/// <param name="AvailableBytes">
/// What can still be stored, by this device and all that share its storage; zero or more. A write may be refused for want of space when it
/// has come to zero, and no earlier.
/// </param>
/// <param name="UsedBytes">What this device's data takes, after compression, with that of its snapshots and of its origin.</param>
public readonly record struct BlockSpace(long AvailableBytes, long UsedBytes);
