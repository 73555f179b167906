// A disk with commands of its own: dotnet run --project samples/custom-command, then, where it is /dev/sdX of this machine (tcmu):
//   printf 'rack 7' | sg_raw -s 6 /dev/sdX c2 00 00 00 06 00     writes a label
//   sg_raw -r 64 /dev/sdX c1 00 00 00 40 00                      reads it
using CowScsi.Samples;
using CowScsi.Scsi;

const int DiskBytes = 16 << 20;
return await Serving.RunAsync("custom-command", "custom-command", args.ElementAtOrDefault(0), () => new RamDisk(DiskBytes), new LabelHandler());

/// <summary>READ LABEL and WRITE LABEL, with operation codes that are the vendor's. Everything else is left to the logical unit.</summary>
internal sealed class LabelHandler : ScsiCommandHandler
{
    private const byte ReadLabel = 0xC1;
    private const byte WriteLabel = 0xC2;
    private const int LengthField = 4;
    private const int LabelBytesMax = 64;

    // Commands come on several threads at once: the label is replaced as a whole.
    private volatile byte[] label = [];

    public override IReadOnlyList<HandledCommand> Commands =>
    [
        new HandledCommand("READ LABEL", "C1 00 00 00 FF 00"),
        new HandledCommand("WRITE LABEL", "C2 00 00 00 FF 00") { Writes = true },
    ];

    public override ValueTask<ScsiAnswer> HandleAsync(IncomingCommand command) => new(command.OperationCode switch
    {
        ReadLabel => command.AnswerData(label, allocationBytes: command.Cdb[LengthField]),
        WriteLabel => Write(command),
        _ => ScsiAnswer.NotHandled,
    });

    private ScsiAnswer Write(IncomingCommand command)
    {
        // The length in the CDB is what the command means to send; what came may be less.
        int length = command.Cdb[LengthField];
        if (length > LabelBytesMax)
            return ScsiAnswer.InvalidField(LengthField);
        if (length > command.DataOut.Length)
            return ScsiAnswer.CheckCondition(SenseCodes.ParameterListLengthError);
        var written = new byte[length];
        command.DataOut.CopyTo(written);
        label = written;
        return ScsiAnswer.GoodAfterDataOut(length);
    }
}
