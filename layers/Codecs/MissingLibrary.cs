using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>The one sentence for a native library that the system does not have.</summary>
internal static class MissingLibrary
{
    internal static StoreException Of(string library, string debianPackage, Exception cause) =>
        new(
            StoreError.Unsupported,
            $"the library {library} is not usable on this system: install it (Debian: apt install {debianPackage})",
            cause);
}
