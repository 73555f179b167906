using System.Buffers.Binary;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>Third-party copy as an initiator does it over the network: lists go out, tokens come back, blocks move without it.</summary>
public sealed class ThirdPartyCopyTests
{
    private const byte Reads = 0xC0;
    private const byte Writes = 0xA0;
    private const int Blocks = 8;

    [Fact]
    public async Task TokenOverTheWire_CopiesBlocksWithoutReadingThem()
    {
        await using var target = new TestTarget();
        using var initiator = target.Login();
        var pattern = TestInitiator.Pattern(Blocks * 512, 7);
        initiator.Command(Writes, Blocks * 512, TestInitiator.Write10(0, Blocks), pattern);
        initiator.ReceiveStatus(ScsiStatusByte.Good);

        var populate = new byte[32];
        populate[1] = 30;
        populate[15] = 16;
        populate[27] = Blocks;
        initiator.Command(Writes, 32, Cdb(0x83, 0x10, 6, 0x77, 32), populate);
        initiator.ReceiveStatus(ScsiStatusByte.Good);

        initiator.Command(Reads, 550, Cdb(0x84, 0x07, 2, 0x77, 550));
        var information = initiator.Receive(Opcode.DataIn);
        Assert.Equal(550, information.Data.Length);
        Assert.Equal(0x10, information.Data[4]);
        if ((information.Flags & 1) == 0)
            initiator.ReceiveStatus(ScsiStatusByte.Good);

        var write = new byte[552];
        BinaryPrimitives.WriteUInt16BigEndian(write, 550);
        information.Data.AsSpan(38, 512).CopyTo(write.AsSpan(16));
        write[535] = 16;
        BinaryPrimitives.WriteInt64BigEndian(write.AsSpan(536), 1000);
        write[547] = Blocks;
        initiator.Command(Writes, 552, Cdb(0x83, 0x11, 6, 0x78, 552), write);
        initiator.ReceiveStatus(ScsiStatusByte.Good);

        Assert.Equal(pattern, initiator.Read(1000, Blocks, out _));
        Assert.Equal(pattern, target.Disk.Bytes.AsSpan(1000 * 512, Blocks * 512).ToArray());
    }

    private static byte[] Cdb(byte opcode, byte serviceAction, int listIdField, byte listId, int length)
    {
        var cdb = new byte[16];
        cdb[0] = opcode;
        cdb[1] = serviceAction;
        cdb[listIdField + 3] = listId;
        BinaryPrimitives.WriteInt32BigEndian(cdb.AsSpan(10), length);
        return cdb;
    }
}
