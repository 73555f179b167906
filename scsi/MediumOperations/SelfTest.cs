using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>A device self-test (SPC-5, 5.15): reads the medium, and so compares every checksum on the way.</summary>
internal sealed class SelfTest : MediumOperation
{
    /// <summary>What a short self-test reads at the beginning, in the middle and at the end of the medium.</summary>
    private const long SampleBytes = 1 << 20;

    private const int Samples = 3;

    private readonly SelfTestKind kind;
    private bool isAbortedByCommand;

    public SelfTest(LogicalUnit unit, SelfTestKind kind)
        : base(unit, IsExtended(kind) ? unit.Device.Geometry.SizeBytes : Samples * SampleBytes) => this.kind = kind;

    /// <summary>In foreground mode other commands wait for the test's end (SPC-5, 5.15.4.2).</summary>
    public override SenseCode? Busy => IsBackground ? null : SenseCodes.SelfTestInProgress;

    public override SenseCode State => SenseCodes.SelfTestInProgress with { Key = IsBackground ? SenseKey.NoSense : SenseKey.NotReady };

    public bool IsBackground => kind is SelfTestKind.BackgroundShort or SelfTestKind.BackgroundExtended;

    /// <summary>Valid once the test has ended.</summary>
    public SelfTestResult Result { get; private set; }

    /// <summary>SEND DIAGNOSTIC with the code that aborts a background self-test.</summary>
    public void Abort()
    {
        isAbortedByCommand = true;
        RequestStop();
    }

    protected override async ValueTask WorkAsync(NativeBuffer memory)
    {
        var geometry = Unit.Device.Geometry;
        var failed = BlockResult.Success;
        if (IsExtended(kind))
        {
            failed = await ReadAsync(memory, 0, geometry.SizeBytes);
        }
        else
        {
            var middle = geometry.SizeBytes / 2 / geometry.LogicalBlockBytes * geometry.LogicalBlockBytes;
            foreach (var from in new[] { 0, middle, Math.Max(0, geometry.SizeBytes - SampleBytes) })
            {
                if (failed.IsSuccess)
                    failed = await ReadAsync(memory, from, Math.Min(SampleBytes, geometry.SizeBytes - from));
            }
        }

        var outcome = SelfTestOutcome.Passed;
        if (!failed.IsSuccess)
            outcome = SelfTestOutcome.Failed;
        else if (IsStopRequested)
            outcome = isAbortedByCommand ? SelfTestOutcome.AbortedBySendDiagnostic : SelfTestOutcome.AbortedOtherwise;
        var lba = failed.FailedOffsetBytes < 0 ? (ulong?)null : (ulong)(failed.FailedOffsetBytes / geometry.LogicalBlockBytes);
        Result = new SelfTestResult((int)kind, outcome, lba, failed.IsSuccess ? SenseCodes.NoSense : BlockOutcomeSense.CodeOf(failed.Outcome));
        Unit.SelfTests.Add(Result);
    }

    private async ValueTask<BlockResult> ReadAsync(NativeBuffer memory, long offsetBytes, long lengthBytes)
    {
        for (long done = 0; done < lengthBytes && !IsStopRequested;)
        {
            var piece = Math.Min(PieceBytes, lengthBytes - done);
            var read = await Unit.Device.ReadAsync(offsetBytes + done, memory.Buffer.Slice(0, piece));

            // A disk that was made smaller meanwhile has no block there any more to be bad.
            if (read.Outcome == BlockOutcome.OutOfRange)
                break;
            if (!read.IsSuccess)
                return read with { FailedOffsetBytes = read.FailedOffsetBytes < 0 ? offsetBytes + done : read.FailedOffsetBytes };
            done += piece;
            await DoneAsync(piece);
        }

        return BlockResult.Success;
    }

    private static bool IsExtended(SelfTestKind kind) => kind is SelfTestKind.BackgroundExtended or SelfTestKind.ForegroundExtended;
}

/// <summary>SELF-TEST CODE of SEND DIAGNOSTIC (SPC-5, 6.42); zero is the default self-test.</summary>
internal enum SelfTestKind : byte
{
    Default = 0,
    BackgroundShort = 1,
    BackgroundExtended = 2,
    AbortBackground = 4,
    ForegroundShort = 5,
    ForegroundExtended = 6,
}
