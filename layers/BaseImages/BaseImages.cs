using System.Buffers.Binary;
using CowScsi.Engine;

namespace CowScsi.Layers;

/// <summary>Opens what lies under a disk's first layer.</summary>
public static class BaseImages
{
    /// <summary>64 TiB: the largest disk.</summary>
    public const long SizeBytesMax = BlockGeometry.SizeBytesMax;

    /// <summary>Enough of a file to tell its format.</summary>
    private const int SignatureBytes = 72;

    /// <summary>Formats that would be served as meaningless raw bytes if they were not told apart: offset, signature, name.</summary>
    private static readonly (int Offset, byte[] Signature, string Name)[] Others =
    [
        (0, "vhdxfile"u8.ToArray(), "VHDX"),
        (0, "conectix"u8.ToArray(), "dynamic VHD"),
        (0, "KDMV"u8.ToArray(), "VMDK"),
        (0, "# Disk DescriptorFile"u8.ToArray(), "VMDK descriptor"),
        (0, "QED\0"u8.ToArray(), "QED"),
        (0x40, [0x7F, 0x10, 0xDA, 0xBE], "VDI"),
    ];

    /// <summary>
    /// Opens an image with its whole backing chain, for reading. Throws <see cref="StoreException"/>: <see cref="StoreError.Io"/> where a
    /// file cannot be opened, <see cref="StoreError.Corrupt"/> with file, offset, structure and predicate where one is damaged,
    /// <see cref="StoreError.Unsupported"/> with the feature's name, <see cref="StoreError.Invalid"/> where the path or the chain is wrong.
    /// </summary>
    public static BaseImage Open(BaseImageReference reference)
    {
        ArgumentNullException.ThrowIfNull(reference);
        return new BaseImageChain().Open(FullPath(reference.Path), reference.Format);
    }

    /// <summary>
    /// The format of a file by its first bytes: qcow2, or else raw. Throws <see cref="StoreError.Unsupported"/> for a file that is plainly
    /// of another image format. Only for a file that its owner names: what a guest writes to a raw disk must not choose its format.
    /// </summary>
    public static BaseImageFormat Detect(string path)
    {
        path = FullPath(path);
        FileProbe.Identify(path);
        using var file = LinuxFile.OpenRead(path);
        Span<byte> head = stackalloc byte[SignatureBytes];
        head.Clear();
        var length = (int)Math.Min(SignatureBytes, file.SeekEnd());
        if (file.Read(head[..length], 0) != FileOutcome.Success)
            throw new StoreException(StoreError.Io, $"cannot read '{path}': {file.LastError}");

        if (BinaryPrimitives.ReadUInt32BigEndian(head) == Qcow2Header.Magic)
        {
            var version = BinaryPrimitives.ReadUInt32BigEndian(head[sizeof(uint)..]);
            return version != 1
                ? BaseImageFormat.Qcow2
                : throw OtherFormat(path, "qcow (version 1)");
        }

        foreach (var (offset, signature, name) in Others)
        {
            if (head[offset..].StartsWith(signature))
                throw OtherFormat(path, name);
        }

        return BaseImageFormat.Raw;
    }

    private static string FullPath(string path) =>
        string.IsNullOrEmpty(path) || path.Contains('\0', StringComparison.Ordinal)
            ? throw new StoreException(
                StoreError.Invalid,
                "the path of the base image is empty or holds a NUL: give the path of a disk image")
            : Path.GetFullPath(path);

    private static StoreException OtherFormat(string path, string name) =>
        new(StoreError.Unsupported, $"'{path}' is a {name} image: convert it with 'qemu-img convert -O qcow2', or state the format raw");
}
