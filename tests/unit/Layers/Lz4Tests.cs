using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

public sealed class Lz4Tests
{
    [Theory]
    [InlineData(1)]
    [InlineData(12)]
    [InlineData(13)]
    [InlineData(512)]
    [InlineData(4096)]
    [InlineData(65536)]
    public void WhatShrinks_ComesBackExactly(int length)
    {
        var source = Text(length);
        var stored = new byte[length + 64];
        var count = Lz4.Compress(source, stored);
        Assert.InRange(count, 1, stored.Length);
        if (length >= 512)
            Assert.InRange(count, 1, length / 2);

        var back = new byte[length];
        Assert.True(Lz4.TryDecompress(stored.AsSpan(0, count), back));
        Assert.Equal(source, back);
    }

    [Fact]
    public void AKnownBlock_DecodesByTheFormat()
    {
        // lz4_Block_format.md: token 0x1F = 1 literal, match of 15 + 4; offset 1; length byte 0x0A = 10 more; then 5 literals.
        byte[] stored = [0x1F, (byte)'a', 0x01, 0x00, 0x0A, 0x50, (byte)'b', (byte)'c', (byte)'d', (byte)'e', (byte)'f'];
        var back = new byte[1 + 29 + 5];
        Assert.True(Lz4.TryDecompress(stored, back));
        Assert.Equal(new string('a', 30) + "bcdef", System.Text.Encoding.ASCII.GetString(back));
    }

    [Fact]
    public void WhatDoesNotFit_IsZeroAndTouchesNothingBehindTheDestination()
    {
        var source = new byte[4096];
        new Random(1).NextBytes(source);
        var stored = new byte[4096 + 16];
        stored.AsSpan(4095).Fill(0xEE);
        Assert.Equal(0, Lz4.Compress(source, stored.AsSpan(0, 4095)));
        Assert.Equal(-1, stored.AsSpan(4095).IndexOfAnyExcept((byte)0xEE));
        Assert.Equal(0, Lz4.Compress(source, default));
    }

    [Fact]
    public void AnotherLengthThanWasCompressed_IsRefused()
    {
        var source = Text(4096);
        var stored = new byte[4096];
        var count = Lz4.Compress(source, stored);
        Assert.False(Lz4.TryDecompress(stored.AsSpan(0, count), new byte[4095]));
        Assert.False(Lz4.TryDecompress(stored.AsSpan(0, count), new byte[4097]));
        Assert.False(Lz4.TryDecompress(stored.AsSpan(0, count - 1), new byte[4096]));
        Assert.False(Lz4.TryDecompress(default, new byte[16]));
        Assert.False(Lz4.TryDecompress(stored.AsSpan(0, count), default));
    }

    [Fact]
    public void HostileInput_NeverWritesOutsideTheDestination()
    {
        const int Seed = 4;
        var random = new Random(Seed);
        var source = Text(4096);
        var stored = new byte[4096];
        var count = Lz4.Compress(source, stored);
        var guarded = new byte[4096 + 512];
        for (var round = 0; round < 20_000; round++)
        {
            var hostile = stored.AsSpan(0, count).ToArray();
            for (var flips = random.Next(1, 6); flips > 0; flips--)
                hostile[random.Next(hostile.Length)] = (byte)random.Next(256);
            guarded.AsSpan(4096).Fill(0x5A);
            _ = Lz4.TryDecompress(hostile, guarded.AsSpan(0, 4096));
            Assert.Equal(-1, guarded.AsSpan(4096).IndexOfAnyExcept((byte)0x5A));
        }
    }

    [Fact]
    public void EmptySource_IsTheCallersMistake() =>
        Assert.Throws<ArgumentOutOfRangeException>(() => Lz4.Compress(default, new byte[16]));

    [Fact]
    public void TheLibraryIsThereAndSaysItsVersion() => Assert.Matches(@"^1\.\d+\.\d+$", Lz4.Version);

    private static byte[] Text(int length)
    {
        var source = new byte[length];
        for (var i = 0; i < length; i++)
            source[i] = (byte)"SCSI block commands, copied on write. "[i % 38];
        return source;
    }
}
