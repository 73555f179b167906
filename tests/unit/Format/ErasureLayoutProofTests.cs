using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Format;

/// <summary>The layout of a kept erasure, field by field.</summary>
public sealed class ErasureLayoutProofTests
{
    [Fact]
    public void Fields()
    {
        var first = new ErasureState(ErasureKind.Format, ErasurePhase.Running, AllowsExit: false, new byte[] { 1, 1 });
        new FieldProof<ErasureState>(ErasureState.Layout, static value => Bytes(value), "", first)
            .Fixed("version", [1])
            .Fixed("pattern_bytes", [2, 0, 0, 0])
            .Field("kind", first with { Kind = ErasureKind.CryptographicErase })
            .Field("phase", first with { Phase = ErasurePhase.Failed })
            .Field("allows_exit", first with { AllowsExit = true })
            .Field("pattern", first with { Pattern = new byte[] { 2, 2 } })
            .Done();
    }

    [Fact]
    public void EachKind_ComesBackAsItWasWritten()
    {
        foreach (var kind in Enum.GetValues<ErasureKind>())
            Assert.Equal(kind, ErasureState.Read(Bytes(new ErasureState(kind, ErasurePhase.Running, AllowsExit: true, default))).Kind);
    }

    private static byte[] Bytes(ErasureState value)
    {
        var bytes = new byte[value.Bytes];
        value.Write(bytes);
        return bytes;
    }
}
