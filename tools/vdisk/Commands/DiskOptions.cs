using System.CommandLine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Passphrases;

namespace CowScsi.Vdisk.Commands;

/// <summary>What `create` and `import` both ask about a new disk.</summary>
internal sealed class DiskOptions
{
    public const string EncryptName = "--encrypt";

    private readonly Option<string> compress = new("--compress")
    {
        Description = "Compress what is stored: lz4 or none",
        HelpName = "CODEC",
        DefaultValueFactory = static _ => CodecNames.None,
    };

    private readonly Option<string?> encrypt = new(EncryptName)
    {
        Description = $"Encrypt what is stored [cipher: {CodecNames.XtsAes256}]",
        HelpName = "CIPHER",
        Arity = ArgumentArity.ExactlyOne,
    };

    private readonly Option<int> blockSize = new("--block-size")
    {
        Description = "Logical block that initiators see: 512 or 4096",
        HelpName = "BYTES",
        DefaultValueFactory = static _ => 512,
    };

    public PassphraseOptions Passphrase { get; } = new();

    public void AddTo(Command verb)
    {
        compress.CompletionSources.Add(CodecNames.Compressions);
        compress.Validators.Add(static result => RequireOneOf(result, CodecNames.Compressions));
        encrypt.CompletionSources.Add(CodecNames.Encryptions);
        encrypt.Validators.Add(static result => RequireOneOf(result, CodecNames.Encryptions));
        blockSize.CompletionSources.Add("512", "4096");
        blockSize.Validators.Add(static result => RequireOneOf(result, ["512", "4096"]));
        verb.Add(compress);
        verb.Add(encrypt);
        verb.Add(blockSize);
        Passphrase.AddTo(verb);
    }

    public DiskRequest ToRequest(Invocation invocation, string name, long sizeBytes) => new()
    {
        Name = name,
        SizeBytes = sizeBytes,
        BlockBytes = invocation.Get(blockSize),
        Compression = invocation.Get(compress) ?? CodecNames.None,
        Encryption = invocation.Get(encrypt) ?? CodecNames.None,
    };

    /// <summary>The new disk's passphrase, where it is to be encrypted; a passphrase without that is a mistake worth telling.</summary>
    public async ValueTask<Passphrase?> GetPassphraseAsync(Invocation invocation, DiskRequest request)
    {
        if (request.Encryption != CodecNames.None)
            return await Passphrase.GetAsync(invocation.Arguments, invocation.Environment, request.Name, isNew: true);
        if (Passphrase.IsOptionGiven(invocation.Arguments))
            throw CommandException.Usage("a passphrase is given, but the disk is not to be encrypted; add --encrypt");
        return null;
    }

    internal static void RequireOneOf(System.CommandLine.Parsing.OptionResult result, string[] known)
    {
        if (result.Tokens is [{ Value: var value }] && Array.IndexOf(known, value) < 0)
            result.AddError($"{result.Option.Name}: '{Text.DiskAddress.Printable(value)}' is not one of {string.Join(", ", known)}");
    }
}
