using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// What the last self-tests found (SPC-5, 7.3.18): newest first, in memory. There is no clock, so none has a time of its own (zero power-on
/// hours). Guarded by its own lock.
/// </summary>
internal sealed class SelfTestLog
{
    private const int Kept = 20;
    private const int ParameterBytes = 16;
    private const int CodeShift = 5;
    private const ulong NoLba = ulong.MaxValue;

    private readonly Lock gate = new();
    private readonly List<SelfTestResult> results = new(Kept);

    public void Add(SelfTestResult result)
    {
        lock (gate)
        {
            if (results.Count == Kept)
                results.RemoveAt(Kept - 1);
            results.Insert(0, result);
        }
    }

    public void Clear()
    {
        lock (gate)
            results.Clear();
    }

    /// <summary>The twenty parameters of the Self-Test Results page; those of no test are zeros.</summary>
    public static void Write(LogicalUnit unit, BlockGeometry geometry, byte subcode, ref PageWriter page)
    {
        var log = unit.SelfTests;
        lock (log.gate)
        {
            for (var i = 0; i < Kept; i++)
            {
                LogPages.Parameter(ref page, i + 1, ParameterBytes);
                if (i >= log.results.Count)
                {
                    page.Zeros(ParameterBytes);
                    continue;
                }

                var result = log.results[i];
                page.Byte((byte)((result.Code << CodeShift) | (int)result.Outcome));
                page.Byte(0); // SELF-TEST NUMBER
                page.UInt16(0); // ACCUMULATED POWER ON HOURS
                page.UInt64(result.FailedLba ?? NoLba);
                page.Byte((byte)result.Sense.Key);
                page.Byte(result.Sense.Asc);
                page.Byte(result.Sense.Ascq);
                page.Byte(0);
            }
        }
    }
}

/// <summary>SELF-TEST RESULTS field, SPC-5 7.3.18.</summary>
internal enum SelfTestOutcome : byte
{
    Passed = 0x0,
    AbortedBySendDiagnostic = 0x1,
    AbortedOtherwise = 0x2,
    Failed = 0x7,
}

/// <param name="Code">SELF-TEST CODE of the command that asked for it; 0 for the default self-test.</param>
/// <param name="FailedLba">Where reading failed; null where nowhere, or nobody knows.</param>
internal readonly record struct SelfTestResult(int Code, SelfTestOutcome Outcome, ulong? FailedLba, SenseCode Sense);
