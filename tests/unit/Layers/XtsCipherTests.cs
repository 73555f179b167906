using System.Buffers.Binary;
using CowScsi.Layers;
using Org.BouncyCastle.Crypto.Engines;
using Org.BouncyCastle.Crypto.Parameters;
using Xunit;

namespace CowScsi.Tests.Unit.Layers;

public sealed class XtsCipherTests
{
    [Fact]
    public void EveryXtsAes256VectorOfIeee1619_BothWays()
    {
        using var cipher = new XtsCipher(Convert.FromHexString(Ieee1619Vectors.Key));
        var plain = new byte[512];
        for (var i = 0; i < plain.Length; i++)
            plain[i] = (byte)i;

        foreach (var (vector, dataUnit, ciphertext) in Ieee1619Vectors.XtsAes256)
        {
            var stored = new byte[512];
            cipher.Encrypt(plain, stored, dataUnit, 0);
            Assert.True(Convert.FromHexString(ciphertext).AsSpan().SequenceEqual(stored), $"vector {vector}: encryption");
            var back = new byte[512];
            cipher.Decrypt(stored, back, dataUnit, 0);
            Assert.True(back.AsSpan().SequenceEqual(plain), $"vector {vector}: decryption");
        }
    }

    [Fact]
    public void EveryLengthUpTo1040AndThoseAroundThePowersOfTwo_AgreesWithAnIndependentAes()
    {
        const int Seed = 1619;
        var random = new Random(Seed);
        int[] larger = [2047, 2048, 2049, 4095, 4096, 4097, 8191, 16383, 32767, 32769, 65519, 65520, 65535, 65536];
        var lengths = Enumerable.Range(16, 1025).Concat(larger);
        foreach (var length in lengths)
        {
            var key = Bytes(random, 64);
            var plain = Bytes(random, length);
            var tweakLow = (ulong)random.NextInt64(long.MinValue, long.MaxValue);
            var tweakHigh = (ulong)random.NextInt64(long.MinValue, long.MaxValue);
            var expected = ReferenceEncrypt(key, plain, tweakLow, tweakHigh);

            using var cipher = new XtsCipher(key);
            var stored = new byte[length];
            cipher.Encrypt(plain, stored, tweakLow, tweakHigh);
            Assert.True(expected.AsSpan().SequenceEqual(stored), $"seed {Seed}, {length} bytes");
            var back = new byte[length];
            cipher.Decrypt(stored, back, tweakLow, tweakHigh);
            Assert.True(plain.AsSpan().SequenceEqual(back), $"seed {Seed}, {length} bytes, decryption");
        }
    }

    [Theory]
    [InlineData(16)]
    [InlineData(17)]
    [InlineData(4096)]
    [InlineData(5001)]
    [InlineData(65536)]
    public void InPlace_GivesTheSameBytes(int length)
    {
        var random = new Random(length);
        using var cipher = new XtsCipher(Bytes(random, 64));
        var plain = Bytes(random, length);
        var apart = new byte[length];
        cipher.Encrypt(plain, apart, 1, 2);

        var inPlace = plain.ToArray();
        cipher.Encrypt(inPlace, inPlace, 1, 2);
        Assert.Equal(apart, inPlace);
        cipher.Decrypt(inPlace, inPlace, 1, 2);
        Assert.Equal(plain, inPlace);
    }

    [Fact]
    public void AnyOtherTweak_GivesOtherCiphertextAndDoesNotDecrypt()
    {
        var random = new Random(5);
        using var cipher = new XtsCipher(Bytes(random, 64));
        var plain = Bytes(random, 4096);
        var stored = new byte[4096];
        var other = new byte[4096];
        cipher.Encrypt(plain, stored, 7, 0);
        for (var bit = 0; bit < 128; bit++)
        {
            var low = 7UL ^ (bit < 64 ? 1UL << bit : 0);
            var high = bit < 64 ? 0 : 1UL << (bit - 64);
            cipher.Encrypt(plain, other, low, high);
            Assert.False(stored.AsSpan().SequenceEqual(other));
            cipher.Decrypt(stored, other, low, high);
            Assert.False(plain.AsSpan().SequenceEqual(other));
        }
    }

    [Theory]
    [InlineData(15, 15)]
    [InlineData(0, 0)]
    [InlineData(65537, 65537)]
    [InlineData(32, 31)]
    [InlineData(32, 33)]
    public void LengthsThatAreNotADataUnit_AreRefused(int from, int to)
    {
        using var cipher = new XtsCipher(Bytes(new Random(1), 64));
        Assert.Throws<ArgumentException>(() => cipher.Encrypt(new byte[from], new byte[to], 0, 0));
        Assert.Throws<ArgumentException>(() => cipher.Decrypt(new byte[from], new byte[to], 0, 0));
    }

    [Fact]
    public void KeysOfWrongLengthOrEqualHalves_AreRefused()
    {
        Assert.Throws<ArgumentException>(() => new XtsCipher(new byte[32]));
        Assert.Throws<ArgumentException>(() => new XtsCipher(new byte[65]));
        var half = Bytes(new Random(2), 32);
        Assert.Throws<ArgumentException>(() => new XtsCipher([.. half, .. half]));
    }

    [Fact]
    public void AfterDispose_EveryCallThrows()
    {
        var cipher = new XtsCipher(Bytes(new Random(3), 64));
        cipher.Dispose();
        cipher.Dispose();
        Assert.Throws<ObjectDisposedException>(() => cipher.Encrypt(new byte[16], new byte[16], 0, 0));
        Assert.Throws<ObjectDisposedException>(() => cipher.Decrypt(new byte[16], new byte[16], 0, 0));
    }

    [Fact]
    public void ManyThreadsOnOneCipher_EachGetsItsOwnDataUnit()
    {
        var key = Bytes(new Random(9), 64);
        using var cipher = new XtsCipher(key);
        Parallel.For(0, 64, new ParallelOptions { MaxDegreeOfParallelism = 16 }, worker =>
        {
            var random = new Random(worker);
            var plain = Bytes(random, 1000 + worker);
            var expected = ReferenceEncrypt(key, plain, (ulong)worker, 3);
            var stored = new byte[plain.Length];
            var back = new byte[plain.Length];
            for (var round = 0; round < 300; round++)
            {
                cipher.Encrypt(plain, stored, (ulong)worker, 3);
                Assert.True(expected.AsSpan().SequenceEqual(stored), $"worker {worker}, round {round}");
                cipher.Decrypt(stored, back, (ulong)worker, 3);
                Assert.True(plain.AsSpan().SequenceEqual(back), $"worker {worker}, round {round}");
            }
        });
    }

    [Fact]
    public void InSteadyState_NothingIsAllocated()
    {
        using var cipher = new XtsCipher(Bytes(new Random(4), 64));
        var buffer = new byte[4096];
        cipher.Encrypt(buffer, buffer, 0, 0);
        cipher.Decrypt(buffer, buffer, 0, 0);
        var before = GC.GetAllocatedBytesForCurrentThread();
        for (var i = 0; i < 1000; i++)
        {
            cipher.Encrypt(buffer, buffer, (ulong)i, 0);
            cipher.Decrypt(buffer, buffer, (ulong)i, 0);
        }

        Assert.Equal(0, GC.GetAllocatedBytesForCurrentThread() - before);
    }

    /// <summary>IEEE 1619-2007, 5.3: composed by hand from BouncyCastle's AES.</summary>
    private static byte[] ReferenceEncrypt(byte[] key, byte[] plain, ulong tweakLow, ulong tweakHigh)
    {
        var data = new AesEngine();
        data.Init(true, new KeyParameter(key, 0, 32));
        var tweakCipher = new AesEngine();
        tweakCipher.Init(true, new KeyParameter(key, 32, 32));
        var tweak = new byte[16];
        BinaryPrimitives.WriteUInt64LittleEndian(tweak, tweakLow);
        BinaryPrimitives.WriteUInt64LittleEndian(tweak.AsSpan(8), tweakHigh);
        tweakCipher.ProcessBlock(tweak, 0, tweak, 0);

        var stored = new byte[plain.Length];
        var whole = plain.Length / 16;
        var rest = plain.Length % 16;
        for (var block = 0; block < whole; block++)
        {
            Block(data, tweak, plain.AsSpan(block * 16, 16), stored.AsSpan(block * 16, 16));
            MultiplyByAlpha(tweak);
        }

        if (rest > 0)
        {
            // 5.3.2: the last, partial unit takes the head of the block before it, whose tail completes it under the next tweak.
            var last = stored.AsSpan((whole - 1) * 16, 16).ToArray();
            last.AsSpan(0, rest).CopyTo(stored.AsSpan(whole * 16));
            plain.AsSpan(whole * 16, rest).CopyTo(last);
            Block(data, tweak, last, stored.AsSpan((whole - 1) * 16, 16));
        }

        return stored;
    }

    private static void Block(AesEngine aes, byte[] tweak, ReadOnlySpan<byte> input, Span<byte> output)
    {
        var block = new byte[16];
        for (var i = 0; i < 16; i++)
            block[i] = (byte)(input[i] ^ tweak[i]);
        aes.ProcessBlock(block, 0, block, 0);
        for (var i = 0; i < 16; i++)
            output[i] = (byte)(block[i] ^ tweak[i]);
    }

    private static void MultiplyByAlpha(byte[] tweak)
    {
        var carry = 0;
        for (var i = 0; i < 16; i++)
        {
            var next = tweak[i] >> 7;
            tweak[i] = (byte)((tweak[i] << 1) | carry);
            carry = next;
        }

        if (carry != 0)
            tweak[0] ^= 0x87;
    }

    private static byte[] Bytes(Random random, int count)
    {
        var bytes = new byte[count];
        random.NextBytes(bytes);
        return bytes;
    }
}
