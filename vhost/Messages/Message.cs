using System.Buffers.Binary;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser.Messages;

/// <summary>
/// One message of the front end, its header checked against <see cref="MessageRule"/>. Numbers are in the machine's byte order, which is
/// little-endian on all machines that this runs on. The object is reused.
/// </summary>
internal sealed class Message
{
    private readonly byte[] payload = new byte[MessageRule.PayloadBytesLimit];

    public FrontEndMessage Type { get; private set; }

    public int PayloadBytes { get; private set; }

    /// <summary>The front end wants to know how it went.</summary>
    public bool NeedsReply { get; private set; }

    public MessageRule Rule { get; private set; } = null!;

    public Span<byte> Payload => payload.AsSpan(0, PayloadBytes);

    /// <summary>Descriptors that came with it. What a handler keeps it takes with <see cref="TakeDescriptor"/>; the rest is closed.</summary>
    public List<SafeFileHandle> Descriptors { get; } = [];

    public ulong Number => BinaryPrimitives.ReadUInt64LittleEndian(payload);

    public uint UInt32(int offset) => BinaryPrimitives.ReadUInt32LittleEndian(Payload[offset..]);

    public ulong UInt64(int offset) => BinaryPrimitives.ReadUInt64LittleEndian(Payload[offset..]);

    public void Begin(MessageRule rule, uint flags, int payloadBytes)
    {
        Rule = rule;
        Type = rule.Message;
        NeedsReply = (flags & MessageRule.NeedReplyFlag) != 0;
        PayloadBytes = payloadBytes;
    }

    public SafeFileHandle TakeDescriptor()
    {
        var taken = Descriptors[0];
        Descriptors.RemoveAt(0);
        return taken;
    }

    public void CloseDescriptors()
    {
        foreach (var descriptor in Descriptors)
            descriptor.Dispose();
        Descriptors.Clear();
    }
}
