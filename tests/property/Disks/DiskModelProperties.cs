using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>Whatever is done to disks, snapshots and clones, they read as arrays of bytes would.</summary>
public sealed class DiskModelProperties(BaseImageFiles files, ITestOutputHelper output) : IClassFixture<BaseImageFiles>
{
    private const int CasesPerStack = 4;

    public static TheoryData<DiskStack> Stacks()
    {
        var stacks = new TheoryData<DiskStack>();
        foreach (var compression in new[] { Compression.None, Compression.Lz4 })
        {
            foreach (var encryption in new[] { Encryption.None, Encryption.XtsAes256 })
            {
                foreach (var kind in new[] { BaseKind.None, BaseKind.Raw, BaseKind.Qcow2 })
                {
                    stacks.Add(new DiskStack(compression, encryption, kind, 512));
                    stacks.Add(new DiskStack(compression, encryption, kind, 4096));
                }
            }
        }

        return stacks;
    }

    [SkippableTheory]
    [MemberData(nameof(Stacks), DisableDiscoveryEnumeration = true)]
    public void DisksSnapshotsAndClones_ReadAsTheModelDoes(DiskStack stack)
    {
        Skip.If(stack.Base == BaseKind.Qcow2 && !BaseImageFiles.HasQemu, "qemu-img is not installed (Debian: apt install qemu-utils)");
        PropertyRun.Check($"model:{stack}", DiskHistory.Arbitrary, history => Run(stack, history), CasesPerStack, output);
    }

    private void Run(DiskStack stack, DiskHistory history)
    {
        using var world = new DiskWorld(stack, files, history.SizeChoice);
        foreach (var step in history.Steps)
            world.Do(step);
        world.CompareAll();
    }
}
