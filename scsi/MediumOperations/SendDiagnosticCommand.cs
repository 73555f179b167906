using System.Buffers.Binary;

namespace CowScsi.Scsi;

/// <summary>SEND DIAGNOSTIC (SPC-5, 6.42): self-tests. There are no diagnostic pages, so a parameter list is refused.</summary>
internal static class SendDiagnosticCommand
{
    private const byte SelfTestBit = 0x04;
    private const int CodeShift = 5;
    private const int CodeHighBit = 7;
    private const int LengthField = 3;

    public static ValueTask Execute(ItlNexus itl, ScsiCommand command)
    {
        var kind = (SelfTestKind)(command.Cdb[1] >> CodeShift);
        var isDefault = (command.Cdb[1] & SelfTestBit) != 0;
        if (BinaryPrimitives.ReadUInt16BigEndian(command.Cdb[LengthField..]) != 0)
        {
            command.FailCdb(LengthField);
            return default;
        }

        if (!Enum.IsDefined(kind) || (isDefault && kind != SelfTestKind.Default))
        {
            command.FailCdb(1, CodeHighBit);
            return default;
        }

        if (kind == SelfTestKind.Default && !isDefault)
            return default; // Nothing is asked for.
        return kind == SelfTestKind.AbortBackground ? AbortAsync(itl.Unit, command) : RunAsync(itl.Unit, command, kind);
    }

    private static async ValueTask AbortAsync(LogicalUnit unit, ScsiCommand command)
    {
        if (unit.Operation is not SelfTest { IsBackground: true } test)
        {
            command.FailCdb(1, CodeHighBit);
            return;
        }

        test.Abort();
        await test.Ended;
    }

    private static async ValueTask RunAsync(LogicalUnit unit, ScsiCommand command, SelfTestKind kind)
    {
        var test = new SelfTest(unit, kind);
        if (!unit.TryStart(test))
        {
            command.Fail(SenseCodes.SelfTestInProgress);
            return;
        }

        if (test.IsBackground)
            return;
        await test.WaitAsync(command.Task);
        if (!test.Ended.IsCompleted)
            test.RequestStop(); // The command was aborted, and the test with it.
        else if (test.Result.Outcome == SelfTestOutcome.Failed)
            command.Fail(SenseCodes.FailedSelfTest);
    }
}
