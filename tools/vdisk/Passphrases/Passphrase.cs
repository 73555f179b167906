using System.Security.Cryptography;

namespace CowScsi.Vdisk.Passphrases;

/// <summary>A passphrase in memory that does not move and is zeroed on disposal. Never printed, never logged.</summary>
internal sealed class Passphrase : IDisposable
{
    /// <summary>Room for a key file of 4096 bytes and its newline; a longer one is a wrong file.</summary>
    public const int BytesMax = 8192;

    private const string Word = "passphrase";

    private readonly byte[] buffer = GC.AllocateArray<byte>(BytesMax + 1, pinned: true);

    private Passphrase(ReadOnlySpan<byte> bytes, string word)
    {
        if (bytes.IsEmpty)
            throw new CommandException(ExitCode.Key, $"the {word} is empty");
        if (bytes.Length > BytesMax)
            throw new CommandException(ExitCode.Key, $"the {word} is longer than {BytesMax} bytes");
        bytes.CopyTo(buffer);
        Length = bytes.Length;
    }

    public int Length { get; }

    public ReadOnlySpan<byte> Bytes => buffer.AsSpan(0, Length);

    /// <summary>Takes a copy of the bytes, all of them.</summary>
    public static Passphrase FromBytes(ReadOnlySpan<byte> bytes) => new(bytes, Word);

    /// <summary>Takes a copy of a file's contents: one trailing newline is the editor's, not the passphrase's.</summary>
    /// <param name="word">What refusals call it.</param>
    public static Passphrase FromText(ReadOnlySpan<byte> text, string word = Word) => new(text is [.., (byte)'\n'] ? text[..^1] : text, word);

    /// <summary>Reads a passphrase to the end of a stream.</summary>
    public static Passphrase Read(Stream stream, string word = Word)
    {
        // One byte more than a passphrase with its newline: enough to know that there is too much.
        var bytes = GC.AllocateArray<byte>(BytesMax + 2, pinned: true);
        try
        {
            var length = stream.ReadAtLeast(bytes, bytes.Length, throwOnEndOfStream: false);
            return FromText(bytes.AsSpan(0, length), word);
        }
        finally
        {
            CryptographicOperations.ZeroMemory(bytes);
        }
    }

    public void Dispose() => CryptographicOperations.ZeroMemory(buffer);
}
