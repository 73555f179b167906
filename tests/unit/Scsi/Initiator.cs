using CowScsi.Layers;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>A target with one logical unit as LUN 0, and an initiator that sends raw CDBs and looks at raw answers.</summary>
internal sealed class Initiator : IDisposable
{
    public const string PortName = "iqn.2026-01.org.cowscsi:test,t,0x0001";

    private readonly NativeBuffer input = new(1 << 20);
    private readonly NativeBuffer output = new(1 << 20);

    public Initiator(RamDisk? disk = null, LogicalUnitOptions? options = null, bool clearsAttention = true)
        : this(disk ?? new RamDisk(), null, options, clearsAttention)
    {
    }

    /// <summary>An initiator of a logical unit that the test made.</summary>
    public Initiator(LogicalUnit unit, bool clearsAttention = true)
        : this(null, unit, null, clearsAttention)
    {
    }

    private Initiator(RamDisk? disk, LogicalUnit? unit, LogicalUnitOptions? options, bool clearsAttention)
    {
        Disk = disk!;
        Unit = unit ?? new LogicalUnit(Disk, LogicalUnitIdentity.FromDisk(DiskId, "web server"), options ?? new LogicalUnitOptions());
        Target = new ScsiTarget(PortName);
        Assert.True(Target.TryAddLun(0, Unit));
        Nexus = Target.CreateNexus("iqn.1993-08.org.debian:a,i,0x1");
        Prepare(clearsAttention);
    }

    /// <summary>A second initiator port at the same target.</summary>
    public Initiator(Initiator other, string portName, bool clearsAttention = true)
    {
        Disk = other.Disk;
        Unit = other.Unit;
        Target = other.Target;
        Nexus = Target.CreateNexus(portName);
        Prepare(clearsAttention);
    }

    /// <summary>An initiator port at another target port, which has the same logical unit as LUN 0.</summary>
    public Initiator(Initiator other, ScsiTarget target, string portName, bool clearsAttention = true)
    {
        Disk = other.Disk;
        Unit = other.Unit;
        Target = target;
        Nexus = target.CreateNexus(portName);
        Prepare(clearsAttention);
    }

    public static Guid DiskId { get; } = new("0b8e9fcc-7d4b-4d0a-9c53-1f0b6a0e7a11");

    public RamDisk Disk { get; }

    public LogicalUnit Unit { get; }

    public ScsiTarget Target { get; }

    public Nexus Nexus { get; }

    public ScsiCommand Command { get; } = new();

    /// <summary>All the room for data to the initiator.</summary>
    public IoBuffer Room => input.Buffer;

    public ReadOnlySpan<byte> Data => input.Span[..(int)Command.DataInLength];

    /// <summary>Sense key, code and qualifier as one number, 0 without sense data.</summary>
    public int Sense => SenseOf(Command);

    public static int SenseOf(ScsiCommand command)
    {
        var sense = command.Sense;
        return sense.Length == 0 ? 0 : (sense[0] & 0x7F) >= 0x72
            ? (sense[1] << 16) | (sense[2] << 8) | sense[3]
            : ((sense[2] & 0xF) << 16) | (sense[12] << 8) | sense[13];
    }

    public static byte[] Hex(string text) => Convert.FromHexString(text.Replace(" ", "", StringComparison.Ordinal));

    /// <summary>Sends a command that ends at once, and answers its status.</summary>
    public ScsiStatus Send(string cdb, byte[]? dataOut = null, int roomBytes = 1 << 20, ulong lun = 0) =>
        Send(Hex(cdb), dataOut, roomBytes, lun);

    public ScsiStatus Send(byte[] cdb, byte[]? dataOut = null, int roomBytes = 1 << 20, ulong lun = 0)
    {
        var pending = Start(Command, cdb, dataOut, roomBytes, lun);
        Assert.True(pending.IsCompleted, "The command should not have had to wait.");
        pending.GetAwaiter().GetResult();
        return Command.Status;
    }

    /// <summary>Sends a command that may have to wait.</summary>
    public ValueTask Start(ScsiCommand command, byte[] cdb, byte[]? dataOut = null, int roomBytes = 1 << 20, ulong lun = 0, ulong tag = 1,
        TaskAttribute attribute = TaskAttribute.Simple)
    {
        dataOut ??= [];
        dataOut.CopyTo(output.Span);
        command.Reset(cdb);
        command.Tag = tag;
        command.Lun = lun;
        command.Attribute = attribute;
        command.DataOut = output.Buffer.Slice(0, dataOut.Length);
        command.DataIn = input.Buffer.Slice(0, roomBytes);
        return Target.ExecuteAsync(Nexus, command);
    }

    public void AssertGood(string cdb, byte[]? dataOut = null)
    {
        var status = Send(cdb, dataOut);
        Assert.True(status == ScsiStatus.Good, $"{cdb}: {status}, sense {Sense:X6}");
    }

    /// <summary>Sends a command and expects CHECK CONDITION with a sense key, code and qualifier.</summary>
    public void AssertSense(int expected, string cdb, byte[]? dataOut = null, ulong lun = 0)
    {
        Assert.Equal(ScsiStatus.CheckCondition, Send(cdb, dataOut, lun: lun));
        Assert.Equal($"{expected:X6}", $"{Sense:X6}");
    }

    /// <summary>INVALID FIELD IN CDB with a field pointer; bit -1 where the whole byte is to blame.</summary>
    public void AssertInvalidCdb(string cdb, int fieldByte, int fieldBit = -1)
    {
        AssertSense(0x052400, cdb);
        Assert.Equal(0xC0 | (fieldBit < 0 ? 0 : 0x08 | fieldBit), Command.Sense[15]);
        Assert.Equal(fieldByte, (Command.Sense[16] << 8) | Command.Sense[17]);
    }

    public static byte[] Fill(int length, byte value)
    {
        var data = new byte[length];
        data.AsSpan().Fill(value);
        return data;
    }

    public void Dispose()
    {
        input.Dispose();
        output.Dispose();
    }

    private void Prepare(bool clearsAttention)
    {
        if (clearsAttention)
            AssertSense(0x062900, "00 00 00 00 00 00");
    }
}
