using CowScsi.Vdisk;
using CowScsi.Vdisk.Passphrases;
using Xunit;

namespace CowScsi.Tests.Unit.Cli;

public sealed class PassphraseTests
{
    [Theory]
    [InlineData("secret", "secret")]
    [InlineData("secret\n", "secret")]
    [InlineData("secret\n\n", "secret\n")]
    [InlineData("secret\r\n", "secret\r")]
    [InlineData(" secret ", " secret ")]
    public void File_LosesOneTrailingNewline(string text, string expected)
    {
        using var passphrase = Passphrase.Read(new MemoryStream(System.Text.Encoding.UTF8.GetBytes(text)));
        Assert.Equal(expected, System.Text.Encoding.UTF8.GetString(passphrase.Bytes));
    }

    [Theory]
    [InlineData(0)]
    [InlineData(Passphrase.BytesMax + 1)]
    [InlineData(1 << 20)]
    public void EmptyOrOverlong_IsRefused(int length)
    {
        var error = Assert.Throws<CommandException>(() => Passphrase.Read(new MemoryStream(new byte[length])));
        Assert.Equal(ExitCode.Key, error.Code);
    }

    [Fact]
    public void Disposal_ZeroesTheBytes()
    {
        var passphrase = Passphrase.FromBytes("secret"u8);
        passphrase.Dispose();
        Assert.False(passphrase.Bytes.ContainsAnyExcept((byte)0));
    }

    [Fact]
    public async Task EverySource_OpensTheDisk_AndAWrongOneDoesNot()
    {
        await using var store = await CliStore.CreateAsync();
        var right = store.Files.Write("right", "correct horse\n");
        var wrong = store.Files.Write("wrong", "battery staple\n");
        var target = store.Files.File("out");
        await store.Cli.DoAsync("create", "pg", "--size", "1MiB", "--encrypt", "--passphrase-file", right);
        await store.Cli.DoAsync("export", "pg", target, "--passphrase-file", right);
        await store.Cli.DoAsync("export", "pg", target, "--passphrase-command", "printf 'correct horse\\n'");
        using (var file = File.OpenHandle(right))
            await store.Cli.DoAsync("export", "pg", target, "--passphrase-fd", $"{file.DangerousGetHandle()}");
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target);
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target, "--passphrase-file", wrong);
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target, "--passphrase-file", store.Files.File("missing"));
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target, "--passphrase-command", "exit 3");
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target, "--passphrase-command", "true");
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target, "--passphrase-fd", "12345");
        await store.Cli.FailAsync(ExitCode.Usage, "export", "pg", target, "--passphrase-file", right, "--passphrase-fd", "3");
        store.Cli.With("VDISK_PASSPHRASE_FILE", right);
        await store.Cli.DoAsync("export", "pg", target);
        store.Cli.With("VDISK_PASSPHRASE_FILE", wrong);
        await store.Cli.FailAsync(ExitCode.Key, "export", "pg", target);
    }

    [Fact]
    public async Task EncryptedDisk_NeedsAPassphraseToBeMade()
    {
        await using var store = await CliStore.CreateAsync();
        await store.Cli.FailAsync(ExitCode.Key, "create", "pg", "--size", "1MiB", "--encrypt");
        await store.Cli.FailAsync(ExitCode.Usage, "import", "-", "pg", "--encrypt", "--passphrase-fd", "0");
        Assert.Equal("no disks", (await store.Cli.DoAsync("list")).Trim());
    }

    [Fact]
    public async Task Encrypt_TakesACipherOrNothing_WhereverItStands()
    {
        await using var store = await CliStore.CreateAsync();
        store.Cli.With("VDISK_PASSPHRASE_FILE", store.Files.Write("key", "correct horse"));
        await store.Cli.DoAsync("create", "--encrypt", "a", "--size", "1MiB");
        await store.Cli.DoAsync("create", "--encrypt", "xts-aes-256", "b", "--size", "1MiB");
        await store.Cli.DoAsync("create", "c", "--size", "1MiB", "--encrypt");
        await store.Cli.DoAsync("create", "d", "--encrypt=xts-aes-256", "--size", "1MiB");
        await store.Cli.FailAsync(ExitCode.Usage, "create", "e", "--encrypt=rot13", "--size", "1MiB");
        foreach (var name in new[] { "a", "b", "c", "d" })
            Assert.Contains("xts-aes-256", await store.Cli.DoAsync("info", name), StringComparison.Ordinal);
    }
}
