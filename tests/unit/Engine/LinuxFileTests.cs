using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>Short transfers are continued, ends and full file systems are told apart.</summary>
public sealed class LinuxFileTests : IDisposable
{
    private const int LengthBytes = 3 * 4096 + 777;

    private readonly string path = Path.Combine(Path.GetTempPath(), "cowscsi-file-" + Guid.NewGuid().ToString("n"));
    private readonly byte[] content = new byte[LengthBytes];

    public LinuxFileTests() => new Random(1).NextBytes(content);

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(4096)]
    public void ShortWritesAndReads_AreContinued(int atATime)
    {
        using var file = LinuxFile.CreateNew(path);
        file.TransferBytesMax = atATime;
        Assert.Equal(FileOutcome.Success, file.Write(content, 100));
        Assert.Equal(LengthBytes + 100, file.LengthBytes);
        var read = new byte[LengthBytes];
        Assert.Equal(FileOutcome.Success, file.Read(read, 100));
        Assert.Equal(content, read);
    }

    [Theory]
    [InlineData(1)]
    [InlineData(511)]
    [InlineData(4096)]
    [InlineData(int.MaxValue)]
    public unsafe void ShortVectoredReads_AreContinued_AcrossPieces(int atATime)
    {
        using var file = Filled();
        file.TransferBytesMax = atATime;
        var read = new byte[LengthBytes];
        fixed (byte* start = read)
        {
            var vectors = stackalloc nint[]
            {
                (nint)start, 1,
                (nint)(start + 1), 600,
                (nint)(start + 601), 8192,
                (nint)(start + 8793), LengthBytes - 8793,
            };
            Assert.Equal(FileOutcome.Success, file.ReadVectors(vectors, 4, LengthBytes, 0, mayWait: true));
        }

        Assert.Equal(content, read);
    }

    [Theory]
    [InlineData(700)]
    [InlineData(int.MaxValue)]
    public unsafe void ReadBeyondTheEnd_IsEndOfFile(int atATime)
    {
        using var file = Filled();
        file.TransferBytesMax = atATime;
        var read = new byte[LengthBytes];
        Assert.Equal(FileOutcome.EndOfFile, file.Read(read, 1));
        Assert.Equal(FileOutcome.EndOfFile, file.Read(read.AsSpan(0, 1), LengthBytes));
        fixed (byte* start = read)
        {
            var vectors = stackalloc nint[] { (nint)start, 100, (nint)(start + 100), LengthBytes - 100 };
            Assert.Equal(FileOutcome.EndOfFile, file.ReadVectors(vectors, 2, LengthBytes, 1, mayWait: true));
        }
    }

    [Fact]
    public void WriteToAFileThatIsOpenForReading_Fails_AndSaysWhy()
    {
        Filled().Dispose();
        using var file = LinuxFile.OpenRead(path);
        Assert.Equal(FileOutcome.Failed, file.Write(content, 0));
        Assert.Equal("Bad file descriptor", file.LastError);
    }

    /// <summary>/dev/full takes no byte: the call fails with ENOSPC.</summary>
    [Fact]
    public void WriteWithoutSpace_IsOutOfSpace()
    {
        using var file = LinuxFile.OpenReadWrite("/dev/full");
        Assert.Equal(FileOutcome.OutOfSpace, file.Write(content, 0));
    }

    /// <summary>tmpfs refuses reads that may not wait, and never waits.</summary>
    [SkippableFact]
    public void FileInMemory_IsReadWithoutWaiting()
    {
        const string Memory = "/dev/shm";
        Skip.IfNot(Directory.Exists(Memory) && new DriveInfo(Memory).DriveFormat == "tmpfs", $"{Memory} is no tmpfs here");
        var there = Path.Combine(Memory, Path.GetFileName(path));
        File.WriteAllBytes(there, content);
        try
        {
            using var file = LinuxFile.OpenRead(there);
            var read = new byte[LengthBytes];
            for (var round = 0; round < 2; round++)
            {
                Assert.Equal(FileOutcome.Success, file.ReadNow(read, 0));
                Assert.Equal(content, read);
                Array.Clear(read);
                Assert.Equal(FileOutcome.WouldWait, file.ReadNow(read, 1));
            }
        }
        finally
        {
            File.Delete(there);
        }
    }

    public void Dispose() => File.Delete(path);

    private LinuxFile Filled()
    {
        File.WriteAllBytes(path, content);
        return LinuxFile.OpenReadWrite(path);
    }
}
