namespace CowScsi.Engine;

/// <summary>
/// What a conditional write expects of its first block. An extent id alone does not tell: through references one extent's blocks may come
/// to stand in each other's place.
/// </summary>
public readonly record struct BlockExpectation
{
    private readonly ulong extentId;
    private readonly byte place;
    private readonly bool isCondition;

    private BlockExpectation(ulong extentId, byte place)
    {
        this.extentId = extentId;
        this.place = place;
        isCondition = true;
    }

    /// <summary>No condition: whatever is there is overwritten.</summary>
    public static BlockExpectation Any => default;

    /// <summary>The block must still be what <paramref name="entry"/> says.</summary>
    public static BlockExpectation Of(in MapEntry entry) => new(entry.ExtentId, entry.Place);

    /// <summary>True where <paramref name="entry"/> is what is expected.</summary>
    public bool Allows(in MapEntry entry) => !isCondition || (entry.ExtentId == extentId && entry.Place == place);
}
