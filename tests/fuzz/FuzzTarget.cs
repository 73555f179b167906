using CowScsi.Engine;

namespace CowScsi.Tests.Fuzz;

/// <summary>A parser of outside bytes: where its valid inputs come from, where their fields lie, and what must hold of each answer.</summary>
internal abstract class FuzzTarget : IDisposable
{
    public abstract string Name { get; }

    /// <summary>
    /// Managed memory that one input of <paramref name="inputBytes"/> may take: a fixed part, and some multiple of what the input itself is.
    /// </summary>
    public virtual long AllocatedBytesMax(int inputBytes) => (64 << 10) + (inputBytes * 64L);

    /// <summary>Longest input that is tried.</summary>
    public virtual int InputBytesMax => 64 << 10;

    /// <summary>Numbers in its fields begin with their highest byte.</summary>
    public virtual bool IsBigEndian => false;

    /// <summary>Valid inputs, made by the product's own code.</summary>
    public abstract IEnumerable<byte[]> Seeds();

    /// <summary>Places of fields in an input: what the mutations aim at.</summary>
    public virtual IEnumerable<(int Offset, int Size)> FieldsOf(byte[] input) => [];

    /// <summary>Makes checksums right, so that a changed field gets past them.</summary>
    public virtual byte[] Mend(byte[] input) => input;

    /// <summary>
    /// Parses one input. Answers in a word what came of it (a new word makes the input interesting); throws <see cref="FuzzDefect"/>, or
    /// anything else, where the parser did what it must not.
    /// </summary>
    public abstract string Execute(byte[] input);

    public virtual void Dispose()
    {
    }

    /// <summary>The fixed fields of a layout at a place.</summary>
    protected static IEnumerable<(int Offset, int Size)> FieldsOf(StoredLayout layout, int at) =>
        layout.Fields.Where(static field => field.Length is null).Select(field => (at + field.OffsetBytes, Math.Min(field.SizeBytes, sizeof(ulong))));

    protected static void Require(bool holds, string what)
    {
        if (!holds)
            throw new FuzzDefect(what);
    }

    /// <summary>A refusal names a predicate; the word is that name.</summary>
    protected static string Refused(string? fault)
    {
        Require(fault is { Length: > 3 } && char.IsAsciiLetterUpper(fault[0]) && fault.Contains(": ", StringComparison.Ordinal), $"refused without a predicate: '{fault}'");
        Require(!fault!.Contains('\n', StringComparison.Ordinal), $"a fault of several lines: '{fault}'");
        return new string([.. fault.Where(static letter => !char.IsAsciiDigit(letter))]) + fault[1];
    }
}

/// <summary>The parser did what it must not.</summary>
internal sealed class FuzzDefect(string message) : Exception(message);
