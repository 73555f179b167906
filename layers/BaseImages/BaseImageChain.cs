using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>
/// One image and what lies under it, while they are opened: keeps the chain free of loops, its depth and its memory bounded.
/// </summary>
internal sealed class BaseImageChain
{
    /// <summary>Images of one chain. A read may go through all of them; longer chains are unusable and most often a mistake.</summary>
    internal const int DepthMax = 64;

    /// <summary>L1 tables of one chain in memory: 8 of the largest.</summary>
    internal const long TableBytesMax = 256L << 20;

    private readonly HashSet<FileIdentity> files = [];
    private long tableBytes;

    /// <param name="overlay">The image that names this one as its backing file, for messages.</param>
    internal BaseImage Open(string path, BaseImageFormat format, string? overlay = null)
    {
        if (files.Count == DepthMax)
        {
            throw new StoreException(
                StoreError.Invalid,
                $"'{path}' is image {DepthMax + 1} of its backing chain, and {DepthMax} are possible: shorten the chain with " +
                "'qemu-img rebase' or 'qemu-img convert'");
        }
        if (!files.Add(Identify(path, overlay)))
        {
            throw new StoreException(
                StoreError.Invalid,
                $"'{path}' backs itself: correct the backing file's name with 'qemu-img rebase -u'");
        }
        return format switch
        {
            BaseImageFormat.Raw => new RawBaseImage(path),
            BaseImageFormat.Qcow2 => Qcow2BaseImage.Open(path, this),
            _ => throw new StoreException(StoreError.Invalid, $"'{path}': the image format {(int)format} is not known; raw and qcow2 are"),
        };
    }

    internal void TakeTableBytes(string path, long bytes)
    {
        tableBytes += bytes;
        if (tableBytes > TableBytesMax)
        {
            throw new StoreException(
                StoreError.Unsupported,
                $"'{path}': the L1 tables of its backing chain take more than {TableBytesMax >> 20} MiB: use larger clusters " +
                "('qemu-img convert -o cluster_size=64K')");
        }
    }

    /// <summary>
    /// Opens the backing file that an image names, or nothing where it names none. A relative name starts at the image's folder. The
    /// format must be stated: guessing it would let what a guest wrote to a raw disk pass for a qcow2 header and name any file.
    /// </summary>
    internal BaseImage? OpenBacking(string path, Qcow2Header header)
    {
        var name = header.BackingFile;
        if (name is null)
            return null;
        var target = Resolve(path, name);
        var format = header.BackingFormat switch
        {
            "raw" => BaseImageFormat.Raw,
            "qcow2" => BaseImageFormat.Qcow2,
            null => throw new StoreException(
                StoreError.Unsupported,
                $"'{path}' does not state the format of its backing file '{name}': state it with " +
                $"\"qemu-img rebase -u -F qcow2 -b '{name}' '{path}'\" (or -F raw)"),
            var other => throw new StoreException(
                StoreError.Unsupported,
                $"'{path}' has a backing file of the format '{other}'; raw and qcow2 are supported: " +
                "convert it with 'qemu-img convert -O qcow2'"),
        };

        return Open(target, format, path);
    }

    private static FileIdentity Identify(string path, string? overlay)
    {
        try
        {
            return FileProbe.Identify(path);
        }
        catch (StoreException cause) when (overlay is not null)
        {
            throw new StoreException(cause.Error, $"{cause.Message} (it is the backing file of '{overlay}')", cause);
        }
    }

    private static string Resolve(string path, string name)
    {
        if (name.StartsWith("file:", StringComparison.Ordinal))
            name = name["file:".Length..];
        var colon = name.IndexOf(':', StringComparison.Ordinal);
        var slash = name.IndexOf('/', StringComparison.Ordinal);
        if (colon >= 0 && (slash < 0 || colon < slash))
        {
            throw new StoreException(
                StoreError.Unsupported,
                $"'{path}' has the backing file '{name}', which is not a path: only files and block devices are supported; copy " +
                "it to one with 'qemu-img convert'");
        }

        return Path.GetFullPath(name, Path.GetDirectoryName(path) ?? "/");
    }
}
