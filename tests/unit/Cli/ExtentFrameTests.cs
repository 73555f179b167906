using CowScsi.Vdisk.Transfer;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

public sealed class ExtentFrameTests
{
    [Fact]
    public void Header_IsKindLengthOffset_LittleEndian()
    {
        var header = new byte[ExtentFrame.HeaderBytes];
        new ExtentFrame(FrameKind.Data, 0x1000, 0x0102030405).Write(header);
        Assert.Equal("02000000" + "00100000" + "0504030201000000", Convert.ToHexString(header));
        Assert.True(ExtentFrame.TryRead(header, out var frame));
        Assert.Equal(new ExtentFrame(FrameKind.Data, 0x1000, 0x0102030405), frame);
    }

    [Theory]
    [InlineData(0u, 0, 0L)]
    [InlineData(5u, 1, 0L)]
    [InlineData(2u, 0, 0L)]
    [InlineData(2u, -1, 0L)]
    [InlineData(2u, (1 << 20) + 1, 0L)]
    [InlineData(2u, 4096, -4096L)]
    [InlineData(2u, 4096, (1L << 46) - 4095)]
    [InlineData(2u, 4096, long.MaxValue)]
    [InlineData(3u, 1, 0L)]
    [InlineData(1u, 1, 0L)]
    public void InvalidHeader_IsRefused(uint kind, int length, long offset)
    {
        var header = new byte[ExtentFrame.HeaderBytes];
        new ExtentFrame((FrameKind)kind, length, offset).Write(header);
        Assert.False(ExtentFrame.TryRead(header, out _));
    }

    [Fact]
    public async Task Source_GivesPiecesAndTheSizeAtTheEnd()
    {
        var stream = new MemoryStream();
        var writer = new FrameWriter(stream);
        await writer.WriteAsync(FrameKind.Data, 4096, new byte[] { 1, 2, 3 }, default);
        await writer.WriteAsync(FrameKind.End, 8192, default, default);
        stream.Position = 0;
        var buffer = new TransferBuffer();
        await using var source = new FrameSource(stream, 8192);
        Assert.Equal(new ImportPiece(4096, 3), await source.ReadNextAsync(buffer, default));
        Assert.Equal([1, 2, 3], buffer.GetSpan()[..3].ToArray());
        Assert.Equal(new ImportPiece(8192, 0), await source.ReadNextAsync(buffer, default));
        buffer.Release();
    }

    [Theory]
    [InlineData("offset goes back")]
    [InlineData("offset inside a block")]
    [InlineData("cut off in the payload")]
    [InlineData("cut off before the end")]
    [InlineData("failure from a client")]
    public async Task Source_RefusesBrokenStreams(string how)
    {
        var stream = new MemoryStream();
        var writer = new FrameWriter(stream);
        await writer.WriteAsync(FrameKind.Data, 8192, new byte[4096], default);
        switch (how)
        {
            case "offset goes back":
                await writer.WriteAsync(FrameKind.Data, 4096, new byte[4096], default);
                break;
            case "offset inside a block":
                await writer.WriteAsync(FrameKind.Data, 12288 + 512, new byte[4096], default);
                break;
            case "cut off in the payload":
                await writer.WriteAsync(FrameKind.Data, 12288, new byte[4096], default);
                stream.SetLength(stream.Length - 1);
                break;
            case "failure from a client":
                await writer.WriteAsync(FrameKind.Failed, 0, new byte[1], default);
                break;
            default:
                break;
        }

        stream.Position = 0;
        var buffer = new TransferBuffer();
        await using var source = new FrameSource(stream, null);
        await source.ReadNextAsync(buffer, default);
        await Assert.ThrowsAsync<InvalidDataException>(async () => await source.ReadNextAsync(buffer, default));
        buffer.Release();
    }

    [Fact]
    public void ZeroScan_FindsRunsOfWholeBlocks()
    {
        var piece = new byte[(5 * 4096) + 100];
        piece[4096] = 1;
        piece[(3 * 4096) - 1] = 1;
        piece[^1] = 1;
        Assert.True(ZeroScan.TryNextRun(piece, 0, out var start, out var length));
        Assert.Equal((4096, 8192), (start, length));
        Assert.True(ZeroScan.TryNextRun(piece, start + length, out start, out length));
        Assert.Equal((5 * 4096, 100), (start, length));
        Assert.False(ZeroScan.TryNextRun(piece, start + length, out _, out _));
    }
}
