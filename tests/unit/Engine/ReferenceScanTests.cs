using CowScsi.Engine;
using CowScsi.Layers;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>The look for references that nobody needs any more, while guests go on.</summary>
public sealed class ReferenceScanTests
{
    private const int Page = 65536;
    private const int DiskBytes = 4 << 20;

    /// <summary>
    /// While one segment of references is looked through for a checkpoint, another fills with those of a layer that did not exist when the look
    /// began: it is not taken for a deleted one.
    /// </summary>
    [Fact]
    public async Task SegmentOfReferences_OfALayerThatIsMadeMeanwhile_Stays()
    {
        using var folder = new StoreFolder();
        using var arrived = new ManualResetEventSlim();
        using var released = new ManualResetEventSlim();
        var looked = "";
        Directory.CreateDirectory(folder.Path);
        await using (var store = new DiskStore(Store.Create(
            new ScriptedDirectory(folder.Path, operation =>
            {
                if (operation.Verb == FileVerb.Read && operation.Name == Volatile.Read(ref looked))
                {
                    arrived.Set();
                    Assert.True(released.Wait(60_000));
                }

                return true;
            }),
            folder.Options)))
        {
            await using var five = ReferenceTests.Make(store, "a");
            await using var six = ReferenceTests.Make(store, "e");
            await using var target = ReferenceTests.Make(store, "b");
            await using var late = ReferenceTests.Make(store, "c");
            await five.FillAsync(0, DiskBytes, 5);
            await six.FillAsync(0, DiskBytes, 6);
            await ReferenceTests.RollAsync(store);
            await ReferenceTests.CopyAsync(five, 0, target, 0, Page);
            var referring = store.Store.Log.Cut().PreviousEnd.Segment;
            await ReferenceTests.ChurnAsync(store);
            Assert.Equal(0, store.Store.Segments.Find(referring)!.Entries);

            Volatile.Write(ref looked, $"segments/{referring:x8}.seg");
            var checkpoint = Task.Run(store.Store.Checkpoint);
            Assert.True(arrived.Wait(60_000));
            Volatile.Write(ref looked, "");
            var filled = store.Store.Log.Cut().PreviousEnd.Segment;
            store.CreateSnapshot("c", "s");
            await ReferenceTests.CopyAsync(five, 0, late, 0, DiskBytes / 2);
            for (var i = 0; store.Store.Log.Cut().PreviousEnd.Segment < filled + 2; i++)
            {
                await ReferenceTests.CopyAsync(i % 2 == 0 ? five : six, DiskBytes / 2, late, DiskBytes / 2, DiskBytes / 2);
                await late.FlushedAsync();
            }

            released.Set();
            await checkpoint;
            store.Store.Checkpoint();
            await late.AssertFilledAsync(0, DiskBytes / 2, 5);
        }

        ReferenceTests.LoseMap(folder);
        await using var again = folder.Open();
        await using var same = again.OpenDisk("c", default);
        await same.AssertFilledAsync(0, DiskBytes / 2, 5);
        Assert.Empty(again.Check(null, default).Findings);
    }
}
