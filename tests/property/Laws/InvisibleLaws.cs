using CowScsi.Layers;
using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Property;

/// <summary>What must not show: flushes, checkpoints, closing and opening, lost indexes, how blocks are stored.</summary>
public sealed class InvisibleLaws(LawImages images, ITestOutputHelper output) : IClassFixture<LawImages>
{
    private const int Cases = 25;

    /// <summary>Fewer: each opens the store anew for three commands, and a new passphrase is meant to take its time.</summary>
    private const int TransferCases = 3;

    [Fact]
    public void Flush_ChangesNothingThatIsRead() => Unchanged("flush", static (given, world) => world.Flush(world.Disk(given.A)));

    [Fact]
    public void Checkpoint_ChangesNothingThatIsRead() => Unchanged("checkpoint", static (_, world) => world.Store.Store.Checkpoint());

    [Fact]
    public void ClosingAndOpening_ChangesNothingThatIsRead() => Unchanged("reopen", static (_, world) => world.Reopen());

    [Fact]
    public void CrashAfterAFlush_WithTheIndexLost_ChangesNothingThatIsRead() => Unchanged("rebuild", static (_, world) => world.CrashAndLoseTheIndex());

    /// <summary>What a snapshot, its clone and their deletion leave is what was there.</summary>
    [Fact]
    public void SnapshotAndClone_MadeAndDeleted_ChangeNothingThatIsRead() => Unchanged("snapshot-and-back", static (given, world) =>
    {
        var snapshot = world.Snapshot(world.Disk(given.A));
        world.DeleteDisk(world.Clone(snapshot));
        world.DeleteSnapshot(snapshot);
    });

    /// <summary>One history on two stacks that differ in how blocks are stored reads the same.</summary>
    [Fact]
    public void CompressionAndEncryption_AreInvisible() => PropertyRun.Check("law:stack-is-invisible", LawCase.Arbitrary, given =>
    {
        var other = given.Stack with
        {
            Compression = given.A % 3 == 0 ? given.Stack.Compression : given.Stack.Compression == Compression.None ? Compression.Lz4 : Compression.None,
            Encryption = given.A % 3 == 1 ? given.Stack.Encryption : given.Stack.Encryption == Encryption.None ? Encryption.XtsAes256 : Encryption.None,
        };
        using var one = new LawWorld(given, images);
        using var two = new LawWorld(given with { Stack = other }, images);
        LawWorld.AssertSame(one.ReadAll(), two.ReadAll(), $"{other} beside {given.Stack}");
    }, Cases, output);

    /// <summary>What is exported and imported again, onto another stack, and exported once more, is what was read.</summary>
    [Fact]
    public void ExportAndImport_GiveTheSameBytes() => PropertyRun.Check("law:export-import", LawCase.Arbitrary, given =>
    {
        using var world = new LawWorld(given, images);
        var names = world.ReadAll();
        var name = names.Keys.ElementAt(given.A % names.Count);
        var tool = world.CloseForTool();
        var (first, second) = (tool.At("first.raw"), tool.At("second.raw"));
        tool.Do("export", name, first);
        LawWorld.AssertSame(names[name], File.ReadAllBytes(first), $"{name}, exported");
        string[] stored = (given.B % 3) switch { 0 => ["--encrypt", "xts-aes-256", "--compress", "lz4"], 1 => ["--compress", "lz4"], _ => [] };
        tool.Do(["import", first, "again", "--block-size", given.C % 2 == 0 ? "512" : "4096", .. stored]);
        tool.Do("export", "again", second);
        LawWorld.AssertSame(names[name], File.ReadAllBytes(second), $"{name}, exported, imported and exported");
    }, TransferCases, output);

    /// <summary>A base image as raw and as qcow2 reads the same.</summary>
    [SkippableFact]
    public void FormatOfTheBaseImage_IsInvisible()
    {
        Skip.IfNot(LawImages.HasQemu, "qemu-img is not installed (Debian: apt install qemu-utils)");
        PropertyRun.Check("law:base-format-is-invisible", LawCase.Arbitrary, given =>
        {
            using var one = new LawWorld(given with { Stack = given.Stack with { Base = BaseKind.Raw } }, images);
            using var two = new LawWorld(given with { Stack = given.Stack with { Base = BaseKind.Qcow2 } }, images);
            LawWorld.AssertSame(one.ReadAll(), two.ReadAll(), "over qcow2 beside raw");
        }, Cases, output);
    }

    private void Unchanged(string name, Action<LawCase, LawWorld> act) => PropertyRun.Check($"law:{name}", LawCase.Arbitrary, given =>
    {
        using var world = new LawWorld(given, images);
        var before = world.ReadAll();
        act(given, world);
        LawWorld.AssertSame(before, world.ReadAll(), name);
        Assert.Empty(world.Store.Check(null, CancellationToken.None).Findings);
    }, Cases, output);
}
