using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>The check, with what the engine carries unread: each disk's attributes and key slots.</summary>
public sealed partial class DiskStore
{
    /// <summary>
    /// Verifies every record, every checksum, and the map against the log, without changing anything; guests go on meanwhile, and what is
    /// verified is the state of one moment.
    /// </summary>
    public StoreReport Check(IProgress<double>? progress, CancellationToken cancellation) => keys.Check(WithAttributes(store.Check(progress, cancellation)));

    /// <summary>
    /// The same for a store that nobody has open. Not a byte of it changes; damage of any kind is in the report, and an exception means
    /// that the check could not be made.
    /// </summary>
    public static StoreReport CheckClosed(string directory, StoreOptions options, IProgress<double>? progress, CancellationToken cancellation) =>
        WithKeys(Store.CheckClosed(directory, options, progress, cancellation), directory);

    /// <summary>
    /// Mends a store that nobody has open from its log, without inventing anything: what cannot be read stays an error for guests until it
    /// is overwritten.
    /// </summary>
    /// <param name="rollBack">Whether to give up the end of the log, for all disks, from damage in it on.</param>
    /// <param name="tell">Takes a line for each action, as it is done.</param>
    public static RepairReport Repair(string directory, StoreOptions options, bool rollBack, Action<string> tell, IProgress<double>? progress, CancellationToken cancellation)
    {
        var report = Store.Repair(directory, options, rollBack, tell, progress, cancellation);
        report = report with { Before = WithKeys(report.Before, directory), After = WithKeys(report.After, directory) };
        if (report.Refusal is not null || !report.After.Findings.Any(IsOfKeyFile) && !report.After.Notes.Any(IsOfKeyFile))
            return report;
        using (Store.Hold(directory))
        {
            var mended = KeyFileCheck.Mend(report.After.Disks, new LinuxDirectory(directory));
            foreach (var action in mended)
                tell(action);
            if (mended.Count == 0)
                return report;
            var left = report.After.Findings.Where(static finding => !IsOfKeyFile(finding)).ToList();
            var notes = report.After.Notes.Where(static note => !IsOfKeyFile(note)).ToList();
            return report with
            {
                Actions = [.. report.Actions, .. mended],
                After = KeyFileCheck.Add(report.After with { Findings = left, Notes = notes }, new LinuxDirectory(directory), isInUse: false),
            };
        }
    }

    private static bool IsOfKeyFile(StoreFinding finding) => finding.Structure == KeyFileCheck.Structure;

    private static bool IsOfKeyFile(string note) => note.StartsWith($"'{KeyFile.Folder}/", StringComparison.Ordinal);

    private static StoreReport WithKeys(StoreReport report, string directory) =>
        KeyFileCheck.Add(WithAttributes(report), new LinuxDirectory(directory), isInUse: false);

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
