using CowScsi.Tcmu.Ring;
using Xunit;

namespace CowScsi.Tests.Unit.Tcmu;

/// <summary>The fields of linux/target_core_user.h, as a C compiler places them (x86-64 and arm64).</summary>
public sealed class RingLayoutTests
{
    /// <summary>A command's entry, byte by byte, as Linux 6.1 wrote one for INQUIRY with 36 bytes of room, at the ring's start.</summary>
    [Fact]
    public unsafe void EntryOfARealKernel_IsUnderstood()
    {
        using var region = SharedRegion.Allocate(8 << 20 | 1 << 16);
        var at = region.Start;
        // version 2, flags 15, cmdr_off 128, cmdr_size 8 MiB - 128, cmd_head 128
        byte[] mailbox = [2, 0, 15, 0, 128, 0, 0, 0, 0x80, 0xFF, 0x7F, 0, 128, 0, 0, 0];
        mailbox.CopyTo(new Span<byte>(at, 16));
        byte[] entry =
        [
            0x81, 0, 0, 0, 1, 0, 0, 0, // 128 bytes, TCMU_OP_CMD; cmd_id 1
            1, 0, 0, 0, 0, 0, 0, 0, // iov_cnt, iov_bidi_cnt
            0, 0, 0, 0, 0, 0, 0, 0, // iov_dif_cnt, alignment
            0xF0, 0, 0, 0, 0, 0, 0, 0, // cdb_off: 128 + 112
            0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0, 0,
            0, 0, 0x80, 0, 0, 0, 0, 0, 36, 0, 0, 0, 0, 0, 0, 0, // iov[0]: behind 8 MiB
        ];
        entry.CopyTo(new Span<byte>(at + 128, entry.Length));
        byte[] cdb = [0x12, 0, 0, 0, 36, 0];
        cdb.CopyTo(new Span<byte>(at + 0xF0, cdb.Length));

        Assert.Equal(RingFault.None, CommandRing.TryOpen(region, out var ring));
        var command = new RingCommand();
        Assert.Equal(RingEvent.Command, ring!.Take(command, new RingTaskManagement()));
        Assert.Equal((RingRefusal.None, (ushort)1), (command.Refusal, command.Id));
        Assert.Equal(cdb, command.Cdb.ToArray());
        Assert.Equal(((nint)(at + (8 << 20)), (nint)36), (Assert.Single(command.Slices.Take(command.SliceCount)).Address, command.Slices[0].Length));

        ring.Complete(command, 2, [0x70, 0, 6], readBytes: 5);
        Assert.True(ring.Publish());
        Assert.Equal([0x81, 0, 0, 0, 1, 0, 0, 2, 2], new Span<byte>(at + 128, 9).ToArray());
        Assert.Equal([5, 0, 0, 0, 0x70, 0, 6, 0], new Span<byte>(at + 128 + 12, 8).ToArray());
        Assert.Equal([128, 0, 0, 0], new Span<byte>(at + 64, 4).ToArray());
    }
}
