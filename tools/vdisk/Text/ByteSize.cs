using System.Diagnostics.CodeAnalysis;
using System.Globalization;

namespace CowScsi.Vdisk.Text;

/// <summary>
/// Sizes as people write and read them. Input needs a unit: B, a binary one (KiB to PiB; K to P mean the same, as in qemu-img, zfs and
/// rbd) or a decimal one (KB to PB). Output is always binary.
/// </summary>
internal static class ByteSize
{
    private static readonly (string Suffix, long Bytes)[] Units =
    [
        ("B", 1),
        ("KiB", 1L << 10), ("MiB", 1L << 20), ("GiB", 1L << 30), ("TiB", 1L << 40), ("PiB", 1L << 50),
        ("K", 1L << 10), ("M", 1L << 20), ("G", 1L << 30), ("T", 1L << 40), ("P", 1L << 50),
        ("KB", 1_000), ("MB", 1_000_000), ("GB", 1_000_000_000), ("TB", 1_000_000_000_000), ("PB", 1_000_000_000_000_000),
    ];

    private static readonly string[] OutputUnits = ["B", "KiB", "MiB", "GiB", "TiB", "PiB", "EiB"];

    /// <summary>Reads a size of one byte or more; on failure <paramref name="error"/> says what would be acceptable.</summary>
    public static bool TryParse(string text, out long bytes, [NotNullWhen(false)] out string? error)
    {
        bytes = 0;
        var digits = 0;
        while (digits < text.Length && (char.IsAsciiDigit(text[digits]) || text[digits] == '.'))
            digits++;
        var suffix = text.AsSpan(digits).TrimStart(' ');
        if (digits == 0 || !decimal.TryParse(text.AsSpan(0, digits), NumberStyles.AllowDecimalPoint, CultureInfo.InvariantCulture, out var count))
            return Fail($"'{text}' is not a size; write a number and a unit, for example 20GiB", out error);
        if (suffix.IsEmpty)
            return Fail($"the size '{text}' needs a unit, for example {text}MiB or {text}GiB", out error);
        if (!TryFindUnit(suffix, out var unit))
            return Fail($"'{suffix}' is not a unit of size; use B, KiB, MiB, GiB, TiB, or KB, MB, GB, TB", out error);
        if (count > long.MaxValue / (decimal)unit)
            return Fail($"the size '{text}' is too large", out error);

        var product = count * unit;
        if (product != decimal.Truncate(product))
            return Fail($"the size '{text}' is not a whole number of bytes", out error);
        if (product == 0)
            return Fail("a size of zero is not possible", out error);
        bytes = (long)product;
        error = null;
        return true;
    }

    /// <summary>For example "20 GiB", "1.50 GiB", "512 B": three significant digits, no more than are needed.</summary>
    public static string Format(long bytes)
    {
        var unit = 0;
        while (unit < OutputUnits.Length - 1 && bytes >> (10 * (unit + 1)) != 0)
            unit++;
        if (unit == 0 || (bytes & ((1L << (10 * unit)) - 1)) == 0)
            return $"{bytes >> (10 * unit)} {OutputUnits[unit]}";

        var value = bytes / (double)(1L << (10 * unit));
        // 1023.9996 would print as "1024": that is one of the next unit.
        if (value >= 999.5 && unit < OutputUnits.Length - 1 && value >= 1023.5)
            return $"1.00 {OutputUnits[unit + 1]}";
        var format = value < 9.995 ? "0.00" : value < 99.95 ? "0.0" : "0";
        return $"{value.ToString(format, CultureInfo.InvariantCulture)} {OutputUnits[unit]}";
    }

    private static bool TryFindUnit(ReadOnlySpan<char> suffix, out long bytes)
    {
        foreach (var unit in Units)
        {
            if (suffix.Equals(unit.Suffix, StringComparison.OrdinalIgnoreCase))
            {
                bytes = unit.Bytes;
                return true;
            }
        }

        bytes = 0;
        return false;
    }

    private static bool Fail(string message, [NotNull] out string? error)
    {
        error = message;
        return false;
    }
}
