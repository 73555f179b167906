namespace CowScsi.Tcmu;

/// <summary>Why a device cannot be attached, found or removed.</summary>
public enum TcmuError
{
    /// <summary>The process may not: configfs and UIO are root's.</summary>
    NotPermitted = 1,

    /// <summary>A kernel module is missing and could not be loaded.</summary>
    ModuleMissing = 2,

    /// <summary>configfs is not mounted.</summary>
    NotMounted = 3,

    /// <summary>The name, the WWN or the device is used by somebody else.</summary>
    InUse = 4,

    /// <summary>There is no such device.</summary>
    NotFound = 5,

    /// <summary>The kernel refused a setting, or did not do what follows from it.</summary>
    Refused = 6,

    /// <summary>The kernel's side of the device is of a kind that this library does not know.</summary>
    NotSupported = 7,
}

/// <summary>A device cannot be attached, found or removed; the message is one line that says what to do.</summary>
public sealed class TcmuException : Exception
{
    public TcmuException(TcmuError error, string message, Exception? cause = null)
        : base(message, cause) => Error = error;

    public TcmuError Error { get; }
}
