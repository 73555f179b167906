using System.CommandLine;
using System.Text.Json;
using System.Text.Json.Serialization.Metadata;
using CowScsi.Engine;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Sessions;

namespace CowScsi.Vdisk.Commands;

/// <summary>One run of a verb: its arguments, its surroundings, and the ways to answer.</summary>
internal sealed class Invocation
{
    private readonly CommandLine line;

    public Invocation(CommandLine line, ParseResult arguments)
    {
        this.line = line;
        Arguments = arguments;
    }

    public ParseResult Arguments { get; }

    public CliEnvironment Environment => line.Environment;

    public CancellationToken Stop => line.Environment.Stop;

    public bool IsJson => line.IsJson(Arguments);

    public string StoreDirectory => line.StoreDirectory(Arguments);

    public T Get<T>(Argument<T> argument) => Arguments.GetRequiredValue(argument);

    public T? Get<T>(Option<T> option) => Arguments.GetValue(option);

    /// <summary>Opens the store, for the verb to dispose of.</summary>
    public ValueTask<IStoreSession> OpenAsync() =>
        StoreSessions.OpenAsync(StoreDirectory, StoreOptions.Default with { Notice = Environment.Complain }, Stop);

    /// <summary>The server that has the store open, for the verb to dispose of; null where none runs.</summary>
    public ValueTask<IStoreSession?> TryReachServerAsync() => StoreSessions.TryReachServerAsync(StoreDirectory, Stop);

    public void Print(string text) => Environment.Out.WriteLine(text);

    public void PrintJson<T>(T answer, JsonTypeInfo<T> type) => Print(JsonSerializer.Serialize(answer, type));

    /// <summary>The passphrase of a disk that is to be read: null where it needs none, or where the server has its key already.</summary>
    public async ValueTask<Passphrase?> UnlockAsync(IStoreSession session, PassphraseOptions options, string disk)
    {
        var document = await session.GetDiskAsync(disk, Stop);
        if (!document.IsEncrypted || (document.IsOpen && !options.IsOptionGiven(Arguments)))
            return null;
        return await options.GetAsync(Arguments, Environment, disk, isNew: false);
    }
}
