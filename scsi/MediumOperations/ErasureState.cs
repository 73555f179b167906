using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Scsi;

/// <summary>What an erasure of the whole medium does.</summary>
internal enum ErasureKind : byte
{
    /// <summary>FORMAT UNIT: every block is deallocated, or holds the initialization pattern.</summary>
    Format = 1,

    /// <summary>SANITIZE, OVERWRITE: every block holds the pattern, and was read back.</summary>
    Overwrite = 2,

    /// <summary>SANITIZE, BLOCK ERASE: every block is deallocated.</summary>
    BlockErase = 3,

    /// <summary>SANITIZE, CRYPTOGRAPHIC ERASE: every block is deallocated, and the device has another data key.</summary>
    CryptographicErase = 4,
}

/// <summary>How far it came.</summary>
internal enum ErasurePhase : byte
{
    /// <summary>Begun and not ended: it goes on when the logical unit comes back.</summary>
    Running = 1,

    Failed = 2,
}

/// <summary>
/// An erasure as a logical unit's memory keeps it from before the first block is touched until it has succeeded, or a failure was left by
/// EXIT FAILURE MODE or another SANITIZE. 8 bytes and the pattern, little-endian.
/// </summary>
/// <remarks>
/// <para>The fields are in <see cref="Layout"/>, docs/format.md has their meaning ("Erasure"). The pattern is what each logical block begins
/// with and repeats, already inverted where the command asked for that; without one the blocks are deallocated.</para>
/// <para>Valid if and only if: 1. version, kind and phase are known; 2. AUSE is 0 or 1; 3. the length is 8 and that of the pattern. The
/// memory replaces a value as a whole. One that is not valid counts as a failed sanitize without AUSE: it stood for an erasure that may not
/// have ended, and nothing less than a new one makes the medium good.</para>
/// </remarks>
/// <param name="AllowsExit">AUSE: EXIT FAILURE MODE leads out of a failure (SBC-4, 4.11.3).</param>
internal sealed record ErasureState(ErasureKind Kind, ErasurePhase Phase, bool AllowsExit, ReadOnlyMemory<byte> Pattern)
{
    /// <summary>The value's name in the memory.</summary>
    public const string Name = "erasure";

    /// <summary>Longest pattern: the largest logical block.</summary>
    public const int PatternBytesMax = 4096;

    private const byte Version = 1;
    private const int VersionAt = 0;
    private const int KindAt = 1;
    private const int PhaseAt = 2;
    private const int ExitAt = 3;
    private const int LengthAt = 4;
    private const int HeaderBytes = 8;

    /// <summary>What stands for a value that cannot be read.</summary>
    public static ErasureState Unknown { get; } = new(ErasureKind.BlockErase, ErasurePhase.Failed, AllowsExit: false, default);

    /// <summary>Where the fields lie.</summary>
    public static StoredLayout Layout { get; } = new(
        "Erasure",
        HeaderBytes,
        StoredField.Of("version", FieldKind.Number, VersionAt, 1),
        StoredField.Of("kind", FieldKind.Number, KindAt, 1),
        StoredField.Of("phase", FieldKind.Number, PhaseAt, 1),
        StoredField.Of("allows_exit", FieldKind.Number, ExitAt, 1),
        StoredField.Of("pattern_bytes", FieldKind.Number, LengthAt, 4),
        new StoredField("pattern", FieldKind.Bytes, HeaderBytes, 0, Length: "pattern_bytes"));

    public int Bytes => HeaderBytes + Pattern.Length;

    public void Write(Span<byte> value)
    {
        value[VersionAt] = Version;
        value[KindAt] = (byte)Kind;
        value[PhaseAt] = (byte)Phase;
        value[ExitAt] = AllowsExit ? (byte)1 : (byte)0;
        BinaryPrimitives.WriteInt32LittleEndian(value[LengthAt..], Pattern.Length);
        Pattern.Span.CopyTo(value[HeaderBytes..]);
    }

    public static ErasureState Read(ReadOnlyMemory<byte> bytes)
    {
        var value = bytes.Span;
        if (value.Length is < HeaderBytes or > HeaderBytes + PatternBytesMax || value[VersionAt] != Version || value[ExitAt] > 1)
            return Unknown;
        var kind = (ErasureKind)value[KindAt];
        var phase = (ErasurePhase)value[PhaseAt];
        if (!Enum.IsDefined(kind) || !Enum.IsDefined(phase) || BinaryPrimitives.ReadInt32LittleEndian(value[LengthAt..]) != value.Length - HeaderBytes)
            return Unknown;
        return new ErasureState(kind, phase, value[ExitAt] == 1, bytes[HeaderBytes..]);
    }
}
