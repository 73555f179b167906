namespace CowScsi.Scsi;

/// <summary>
/// The eight LUN bytes of SAM-5 4.7, first byte most significant, and the number they stand for. Numbers below 256 are written in
/// peripheral device addressing, larger ones in flat space addressing; both forms are read for every number they can hold.
/// </summary>
public static class ScsiLun
{
    /// <summary>Logical units a target can have: what 14 bits of flat space addressing can name.</summary>
    public const int Count = 16384;

    /// <summary>The REPORT LUNS well-known logical unit (SPC-5, 8.2), as LUN bytes.</summary>
    public const ulong ReportLunsWellKnown = 0xC101_0000_0000_0000;

    private const int PeripheralCount = 256;
    private const int MethodPeripheral = 0;
    private const int MethodFlat = 1;
    private const ulong LowerLevelsMask = 0x0000_FFFF_FFFF_FFFF;

    /// <summary>LUN bytes of a number in 0 to 16383.</summary>
    public static ulong FromNumber(int number)
    {
        ArgumentOutOfRangeException.ThrowIfNegative(number);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(number, Count);
        var first = number < PeripheralCount ? number : (MethodFlat << 14) | number;
        return (ulong)first << 48;
    }

    /// <summary>The number that LUN bytes stand for; false for a form that names no logical unit of this kind of target.</summary>
    public static bool TryGetNumber(ulong lun, out int number)
    {
        var first = (int)(lun >> 48);
        number = first & (Count - 1);
        if ((lun & LowerLevelsMask) != 0)
            return false;
        return (first >> 14) switch
        {
            // Bus identifier (the six bits above the number) is zero: this level.
            MethodPeripheral => number < PeripheralCount,
            MethodFlat => true,
            _ => false,
        };
    }
}
