using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>After a crash of the process or of the power, what was flushed is there and what was not is a prefix of what was written.</summary>
public sealed class CrashProperties(ITestOutputHelper output)
{
    private const int Cases = 40;

    [Fact]
    public void AfterCrashes_ThePlainDiskHoldsAPrefixWithAllThatWasFlushed() =>
        Check(new DiskStack(Compression.None, Encryption.None, BaseKind.None, 512));

    [Fact]
    public void AfterCrashes_TheCompressedEncryptedDiskHoldsAPrefixWithAllThatWasFlushed() =>
        Check(new DiskStack(Compression.Lz4, Encryption.XtsAes256, BaseKind.None, 512));

    private void Check(DiskStack stack) => PropertyRun.Check(
        $"crash:{stack}",
        CrashHistory.Arbitrary,
        history =>
        {
            using var world = new CrashWorld(stack);
            foreach (var step in history.Steps)
                world.Do(step);
            world.Do(new CrashStep(CrashVerb.CutPower, history.Steps.Count, 0));
        },
        Cases,
        output);
}
