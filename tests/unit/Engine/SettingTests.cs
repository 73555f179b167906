using CowScsi.Engine;
using Xunit;

namespace CowScsi.Tests.Unit.Engine;

public sealed class SettingTests : IDisposable
{
    private readonly StoreFolder folder = new();

    [Fact]
    public void ChangeSettings_ManyAtOnce_AreThereAfterReopening()
    {
        using (var store = Store.Create(folder.Path, StoreOptions.Default))
        {
            store.ChangeSettings([new("target/a", new byte[] { 1 }), new("target/b", new byte[] { 2, 3 }), new("unit/a", Array.Empty<byte>())]);
            store.ChangeSettings([new("target/a", null), new("target/c", new byte[] { 4 }), new("target/absent", null)]);
        }

        using var reopened = Store.Open(folder.Path, StoreOptions.Default);
        Assert.Equal(["target/b", "target/c"], reopened.ListSettings("target/").Select(setting => setting.Key));
        Assert.Equal([2, 3], reopened.FindSetting("target/b")!.Value.ToArray());
        Assert.Equal(0, reopened.FindSetting("unit/a")!.Value.Length);
        Assert.Null(reopened.FindSetting("target/a"));
    }

    [Fact]
    public void ChangeSettings_OneOfThemTooLong_ChangesNothing()
    {
        using var store = Store.Create(folder.Path, StoreOptions.Default);
        Assert.Throws<StoreException>(() => store.ChangeSettings([new("a/1", new byte[1]), new("a/2", new byte[40_000])]));
        Assert.Throws<StoreException>(() => store.ChangeSettings([new("a/1", new byte[1]), new("", new byte[1])]));
        Assert.Empty(store.ListSettings("a/"));
    }

    public void Dispose() => folder.Dispose();
}
