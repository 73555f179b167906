using CowScsi.Vdisk;
using Xunit;

namespace CowScsi.Tests.Property;

/// <summary>vdisk's command lines, run in this process on the store in a folder.</summary>
internal sealed class StoreTool
{
    private readonly TemporaryFolder folder;

    public StoreTool(TemporaryFolder folder, byte[] passphrase)
    {
        this.folder = folder;
        File.WriteAllBytes(At("key"), passphrase);
    }

    public string At(string name) => folder.At(name);

    /// <summary>Runs one and insists on success.</summary>
    public void Do(params string[] words)
    {
        using var output = new StringWriter();
        using var error = new StringWriter();
        var environment = new CliEnvironment
        {
            Out = output,
            Error = error,
            OpenInput = static () => Stream.Null,
            OpenOutput = static () => Stream.Null,
            Variable = name => name switch
            {
                "VDISK_STORE" => At("store"),
                "VDISK_PASSPHRASE_FILE" => At("key"),
                _ => null,
            },
        };
        var code = Task.Run(async () => await Program.RunAsync(words, environment)).GetAwaiter().GetResult();
        Assert.True(code == 0, $"vdisk {string.Join(' ', words)}: {code}: {error}");
    }
}
