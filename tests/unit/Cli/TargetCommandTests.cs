using System.Text.Json;
using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

/// <summary>The verbs of `vdisk target`, on a store of its own and on one that a server has open: both keep the same.</summary>
public sealed class TargetCommandTests
{
    private const string Db = "iqn.2026-11.org.example:db";
    private const string Secret = "correct horse staple";

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task NewStore_HasOneTargetWithAllDisks_ForEveryone(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("create", "b", "--size", "1MiB");
        using var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json"));
        var all = list.RootElement.GetProperty("targets");
        var target = Assert.Single(all.GetProperty("targets").EnumerateArray());
        Assert.StartsWith("iqn.2026-11.io.cowscsi:", target.GetProperty("name").GetString(), StringComparison.Ordinal);
        Assert.True(target.GetProperty("all_disks").GetBoolean());
        Assert.Equal([("a", 0), ("b", 1)], Luns(target));
        Assert.Equal("127.0.0.1:3260", all.GetProperty("portals")[0].GetProperty("portal").GetString());
        Assert.Contains("everyone", await store.Cli.DoAsync("target", "show", "discovery"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task LifeOfATarget_SurvivesARestart(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        var secret = store.Files.Write("secret", Secret + "\n");
        foreach (var name in new[] { "a", "b", "c" })
            await store.Cli.DoAsync("create", name, "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", "iqn.2026-11.ORG.example:DB", "--alias", "the database");
        await store.Cli.DoAsync("target", "map", Db, "b");
        Assert.Contains("LUN 7", await store.Cli.DoAsync("target", "map", "db", "c", "--lun", "7"), StringComparison.Ordinal);
        await store.Cli.DoAsync("target", "user", "add", "db", "alice", "--secret-file", secret);
        store.Cli.Input = "another secret of mine"u8.ToArray();
        await store.Cli.DoAsync("target", "user", "add", "db", "db-itself", "--mutual", "--secret-file", "-");
        await store.Cli.DoAsync("target", "allow", "db", "--initiator", "iqn.2026-01.TEST.*", "--network", "127.0.0.1", "--network", "fd00::/8");
        await store.Cli.DoAsync("target", "allow", "discovery", "--network", "127.0.0.0/8");
        await store.Cli.DoAsync("target", "redirect", "db", "storage.example:3260", "--permanent");
        if (isServed)
            await store.StopServerAsync();
        else
            await store.ServeAsync();
        using var show = JsonDocument.Parse(await store.Cli.DoAsync("target", "show", "db", "--json"));
        var target = show.RootElement.GetProperty("target");
        Assert.Equal(
            ["name", "alias", "all_disks", "port_group", "luns", "rules", "redirect", "sessions"], target.EnumerateObject().Select(property => property.Name));
        Assert.Equal(Db, target.GetProperty("name").GetString());
        Assert.Equal("the database", target.GetProperty("alias").GetString());
        Assert.Equal([("b", 0), ("c", 7)], Luns(target));
        var rules = target.GetProperty("rules");
        Assert.Equal("""{"initiators":["iqn.2026-01.test.*"],"networks":["127.0.0.1/32","fd00::/8"],"users":["alice"],"mutual":"db-itself"}""", rules.GetRawText());
        Assert.Equal("""{"to":"storage.example:3260","permanent":true}""", target.GetProperty("redirect").GetRawText());
        Assert.Contains("127.0.0.0/8", await store.Cli.DoAsync("target", "show", "discovery"), StringComparison.Ordinal);
        await store.Cli.DoAsync("target", "redirect", "db");
        await store.Cli.DoAsync("target", "unmap", "db", "c");
        await store.Cli.DoAsync("target", "delete", "db");
        Assert.DoesNotContain(Db, await store.Cli.DoAsync("target", "list"), StringComparison.Ordinal);
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task Numbers_StayWhenDisksGo_AndAreNotGivenAgain(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        foreach (var name in new[] { "a", "b", "c" })
            await store.Cli.DoAsync("create", name, "--size", "1MiB");
        if (!isServed)
        {
            await store.ServeAsync();
            await store.StopServerAsync();
        }

        await store.Cli.DoAsync("delete", "a");
        await store.Cli.DoAsync("delete", "c");
        await store.Cli.DoAsync("create", "c", "--size", "1MiB");
        Assert.Equal([("b", 1), ("c", 3)], await DefaultLunsAsync(store));
        var name1 = await DefaultNameAsync(store);
        await store.Cli.DoAsync("target", "unmap", name1, "b");
        await store.Cli.DoAsync("create", "d", "--size", "1MiB");
        Assert.Contains("LUN 1", await store.Cli.DoAsync("target", "map", name1, "b"), StringComparison.Ordinal);
        Assert.Equal([("b", 1), ("c", 3), ("d", 4)], await DefaultLunsAsync(store));
        if (isServed)
            await store.StopServerAsync();
        await store.ServeAsync();
        Assert.Equal(["/1", "/3", "/4"], store.Server.Served.Select(disk => disk.Url[^2..]));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task BadInput_IsRefusedInALine_AndChangesNothing(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await store.Cli.DoAsync("create", "b", "--size", "1MiB");
        await store.Cli.DoAsync("target", "create", Db);
        await store.Cli.DoAsync("target", "map", "db", "a", "--lun", "3");
        var before = await store.Cli.DoAsync("target", "list", "--json");
        var secret = store.Files.Write("secret", Secret);
        var brief = store.Files.Write("brief", "elevenbytes");
        foreach (var name in new[] { "db", "iqn.2026-13.org.example:db", "iqn.2026-11.org.example:", "iqn.2026-11.org.exam_ple:db", "eui.0123", "naa.xyz", "iqn.2026-11.org.example:" + new string('x', 223) })
            await store.Cli.FailAsync(ExitCode.Usage, "target", "create", name);
        await store.Cli.FailAsync(ExitCode.Failed, "target", "create", Db);
        await store.Cli.FailAsync(ExitCode.NotFound, "target", "delete", "nothing");
        Assert.Contains($"did you mean '{Db}'?", await store.Cli.FailAsync(ExitCode.NotFound, "target", "map", Db + "s", "a"), StringComparison.Ordinal);
        Assert.Contains("vdisk list", await store.Cli.FailAsync(ExitCode.NotFound, "target", "map", "db", "nothing"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Failed, "target", "map", "db", "a");
        await store.Cli.FailAsync(ExitCode.InUse, "target", "map", "db", "b", "--lun", "3");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "map", "db", "b", "--lun", "16384");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "map", "db", "b", "--lun", "x");
        await store.Cli.FailAsync(ExitCode.InUse, "target", "map", "db", "b", "--read-only");
        await store.Cli.FailAsync(ExitCode.NotFound, "target", "unmap", "db", "b");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "allow", "db");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "allow", "db", "--initiator", "somebody");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "allow", "db", "--initiator", "iqn.*");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "allow", "db", "--network", "10.0.0.0/33");
        await store.Cli.FailAsync(ExitCode.NotFound, "target", "deny", "db", "--network", "10.0.0.0/8");
        Assert.Contains("--force", await store.Cli.FailAsync(ExitCode.Key, "target", "user", "add", "db", "bob", "--secret-file", brief), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Key, "target", "user", "add", "db", "bob");
        await store.Cli.FailAsync(ExitCode.Key, "target", "user", "add", "db", "bob", "--secret-file", store.Files.File("missing"));
        await store.Cli.FailAsync(ExitCode.Usage, "target", "user", "add", "db", "db", "--mutual", "--secret-file", secret);
        await store.Cli.FailAsync(ExitCode.NotFound, "target", "user", "remove", "db", "bob");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "portal", "add", "127.0.0.1:0");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "portal", "add", "nonsense:port");
        await store.Cli.FailAsync(ExitCode.Failed, "target", "portal", "remove", "127.0.0.1:3260");
        await store.Cli.FailAsync(ExitCode.NotFound, "target", "portal", "remove", "127.0.0.1:3261");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "redirect", "db", "0.0.0.0:3260");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "redirect", "db", "--permanent");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "reset");
        await store.Cli.FailAsync(ExitCode.Usage, "target");
        await store.Cli.FailAsync(ExitCode.Usage, "target", "user");
        Assert.Equal(before, await store.Cli.DoAsync("target", "list", "--json"));
    }

    [Theory]
    [InlineData(false)]
    [InlineData(true)]
    public async Task TheLastRule_GoesOnlyWhenForced_SinceAnEmptyListLetsEveryoneIn(bool isServed)
    {
        await using var store = await CliStore.CreateAsync(isServed);
        var secret = store.Files.Write("secret", Secret);
        await store.Cli.DoAsync("target", "create", Db);
        await store.Cli.DoAsync("target", "allow", "db", "--initiator", "iqn.2026-01.test:a", "--initiator", "iqn.2026-01.test:b");
        await store.Cli.DoAsync("target", "user", "add", "db", "alice", "--secret-file", secret);
        await store.Cli.DoAsync("target", "deny", "db", "--initiator", "iqn.2026-01.test:a");
        await store.Cli.FailAsync(ExitCode.Failed, "target", "deny", "db", "--initiator", "iqn.2026-01.test:b");
        await store.Cli.FailAsync(ExitCode.Failed, "target", "user", "remove", "db", "alice");
        await store.Cli.DoAsync("target", "deny", "db", "--initiator", "iqn.2026-01.test:b", "--force");
        Assert.Contains("everyone", await store.Cli.DoAsync("target", "user", "remove", "db", "alice", "--force"), StringComparison.Ordinal);
    }

    [Fact]
    public async Task Secrets_AreShownNowhere_AndTheStoresFilesAreItsOwnersAlone()
    {
        // Of any ten of its bytes that one line of a dump has, four are the word.
        const string word = "hush";
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        // As a copy without modes leaves them.
        foreach (var file in Directory.EnumerateFiles(store.Directory, "*", SearchOption.AllDirectories))
            File.SetUnixFileMode(file, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.GroupRead | UnixFileMode.OtherRead);
        var secret = store.Files.Write("secret", string.Concat(Enumerable.Repeat(word, 5)));
        await store.Cli.DoAsync("target", "create", Db);
        var said = await store.Cli.RunAsync("target", "user", "add", "db", "alice", "--secret-file", secret);
        Assert.Equal(0, said.Code);
        foreach (var path in Directory.EnumerateFileSystemEntries(store.Directory, "*", SearchOption.AllDirectories))
            Assert.Equal(0, (int)File.GetUnixFileMode(path) & 0x3F);
        List<string> shown = [said.Out, said.Error];
        await store.ServeAsync();
        foreach (var words in new[] { new[] { "target", "list" }, ["target", "show", "db"], ["target", "user", "list", "db"], ["target", "sessions"], ["info"] })
        {
            shown.Add(await store.Cli.DoAsync(words));
            shown.Add(await store.Cli.DoAsync([.. words, "--json"]));
        }

        await store.StopServerAsync();
        foreach (var words in new[] { new[] { "inspect", "catalog" }, ["inspect", "checkpoint"], ["inspect", "segment", "1"] })
        {
            shown.Add(await store.Cli.DoAsync(words));
            shown.Add(await store.Cli.DoAsync([.. words, "--json"]));
        }

        foreach (var file in Directory.EnumerateFiles(Path.Combine(store.Directory, "segments")))
        {
            for (var offset = 4096; offset < new FileInfo(file).Length; offset += 4096)
                shown.Add((await store.Cli.RunAsync("inspect", "record", $"{Convert.ToInt32(Path.GetFileNameWithoutExtension(file), 16)}:{offset}", "--hex")).Out);
        }

        var inHex = Convert.ToHexStringLower(System.Text.Encoding.UTF8.GetBytes(word));
        Assert.Contains(shown, static text => text.Contains("hidden", StringComparison.Ordinal));
        foreach (var text in shown)
        {
            Assert.DoesNotContain(word, text, StringComparison.Ordinal);
            foreach (var line in text.Split('\n'))
                Assert.DoesNotContain(inHex, line.Replace(" ", "", StringComparison.Ordinal), StringComparison.Ordinal);
        }
    }

    [Fact]
    public async Task Complete_OffersTargetsUsersAndPortals()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("target", "create", Db);
        await store.Cli.DoAsync("target", "user", "add", "db", "alice", "--secret-file", store.Files.Write("secret", Secret));
        Assert.Equal([Db], await CompleteAsync("target", "show", "iqn.2026-11.o"));
        Assert.Equal(["discovery"], await CompleteAsync("target", "user", "list", "d"));
        Assert.Equal(["alice"], await CompleteAsync("target", "user", "remove", Db, ""));
        Assert.Equal(["127.0.0.1:3260"], await CompleteAsync("target", "portal", "remove", ""));

        async Task<string[]> CompleteAsync(params string[] words) =>
            (await store.Cli.DoAsync(["complete", "--", .. words])).Split('\n', StringSplitOptions.RemoveEmptyEntries);
    }

    [Fact]
    public async Task Reset_ForgetsWhatCannotBeRead()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.DoAsync("create", "a", "--size", "1MiB");
        await using (var opened = CowScsi.Layers.DiskStore.Open(store.Directory, CowScsi.Engine.StoreOptions.Default))
            opened.ChangeSettings([new("target/config", "{}"u8.ToArray())]);
        Assert.Contains("target/config", await store.Cli.FailAsync(ExitCode.Failed, "target", "list"), StringComparison.Ordinal);
        await store.Cli.FailAsync(ExitCode.Failed, "serve", "--portal", "127.0.0.1:0");
        await store.Cli.DoAsync("target", "reset", "--yes");
        Assert.Equal([("a", 0)], await DefaultLunsAsync(store));
        await store.ServeAsync();
        Assert.Single(store.Server.Served);
    }

    private static async Task<string> DefaultNameAsync(CliStore store)
    {
        using var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json"));
        return list.RootElement.GetProperty("targets").GetProperty("targets")[0].GetProperty("name").GetString()!;
    }

    private static async Task<List<(string Disk, int Lun)>> DefaultLunsAsync(CliStore store)
    {
        using var list = JsonDocument.Parse(await store.Cli.DoAsync("target", "list", "--json"));
        return Luns(list.RootElement.GetProperty("targets").GetProperty("targets")[0]);
    }

    private static List<(string Disk, int Lun)> Luns(JsonElement target) =>
        [.. target.GetProperty("luns").EnumerateArray().Select(lun => (lun.GetProperty("disk").GetString()!, lun.GetProperty("lun").GetInt32()))];
}
