namespace CowScsi.Layers;

/// <summary>What one passphrase guess costs: the parameters of Argon2id (RFC 9106, 3.1).</summary>
/// <param name="Passes">t: 1 to <see cref="PassesMax"/>.</param>
/// <param name="MemoryKiB">m: 8 times <paramref name="Lanes"/> to <see cref="MemoryKiBMax"/>, in KiB.</param>
/// <param name="Lanes">p: 1 to <see cref="LanesMax"/>; as many threads are used.</param>
public readonly record struct KeySlotCost(int Passes, int MemoryKiB, int Lanes)
{
    /// <summary>A slot read from a file must not make its reader compute for ever.</summary>
    public const int PassesMax = 1000;

    /// <summary>4 GiB: a slot read from a file must not make its reader take all memory.</summary>
    public const int MemoryKiBMax = 4 << 20;

    public const int LanesMax = 64;

    /// <summary>64 GiB of memory traffic, about a minute: bounds passes and memory together.</summary>
    public const long PassesTimesMemoryKiBMax = 64L << 20;

    /// <summary>
    /// 3 passes over 64 MiB in one lane: RFC 9106's second recommendation (section 4) at the one lane a small machine has.
    /// </summary>
    public static KeySlotCost Default => new(3, 64 << 10, 1);

    /// <summary>True where every parameter is in range.</summary>
    public bool IsValid =>
        Passes is >= 1 and <= PassesMax &&
        Lanes is >= 1 and <= LanesMax &&
        MemoryKiB >= 8 * Lanes && MemoryKiB <= MemoryKiBMax &&
        (long)Passes * MemoryKiB <= PassesTimesMemoryKiBMax;
}
