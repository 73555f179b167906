using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>The check, with what the engine carries unread: each disk's attributes and key slots.</summary>
public sealed partial class DiskStore
{
    /// <summary>
    /// Verifies every record, every checksum, and the map against the log, without changing anything; guests go on meanwhile, and what is
    /// verified is the state of one moment.
    /// </summary>
    public StoreReport Check(IProgress<double>? progress, CancellationToken cancellation) => WithAttributes(store.Check(progress, cancellation));

    /// <summary>
    /// The same for a store that nobody has open. Not a byte of it changes; damage of any kind is in the report, and an exception means
    /// that the check could not be made.
    /// </summary>
    public static StoreReport CheckClosed(string directory, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation) =>
        WithAttributes(Store.CheckClosed(directory, options, progress, cancellation));

    /// <summary>
    /// Mends a store that nobody has open from its log, without inventing anything: what cannot be read stays an error for guests until it
    /// is overwritten.
    /// </summary>
    /// <param name="rollBack">Whether to give up the end of the log, for all disks, from damage in it on.</param>
    /// <param name="tell">Takes a line for each action, as it is done.</param>
    public static RepairReport Repair(string directory, StoreOptions options, bool rollBack, Action<string> tell, IProgress<double>? progress, CancellationToken cancellation)
    {
        var report = Store.Repair(directory, options, rollBack, tell, progress, cancellation);
        return report with { Before = WithAttributes(report.Before), After = WithAttributes(report.After) };
    }

    private static StoreReport WithAttributes(StoreReport report)
    {
        List<StoreFinding>? findings = null;
        foreach (var row in report.Disks)
        {
            try
            {
                var attributes = DiskAttributes.Read(row);
                if (!attributes.KeySlots.IsEmpty)
                    KeySlotSet.Read(attributes.KeySlots.Span, $"disk '{row.Name}'");
            }
            catch (StoreException fault)
            {
                findings ??= [.. report.Findings];
                findings.Add(new StoreFinding { File = "segments", Structure = "disk attributes", What = fault.Message, Next = "restore the store from a copy; the disk cannot be opened" });
            }
        }

        return findings is null ? report : report with { Findings = findings };
    }
}
