namespace CowScsi.Engine;

/// <summary>What room in the log is wanted for, and so how far it may be taken where the file system is nearly full. Ascending.</summary>
public enum LogUse : byte
{
    /// <summary>Guests' data: never from the reserve.</summary>
    Data = 0,

    /// <summary>Records that let go of guests' data (discards): from a share of the reserve, so that a guest can empty a full store.</summary>
    Release = 1,

    /// <summary>Changes of the catalog: from all of the reserve, so that what is not wanted any more can always be deleted.</summary>
    Catalog = 2,
}
