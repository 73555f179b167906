using CowScsi.Layers;

namespace CowScsi.Vdisk.Documents;

/// <summary>The words for codecs, ciphers and formats, on the command line and in documents.</summary>
internal static class CodecNames
{
    public const string None = "none";
    public const string Lz4 = "lz4";
    public const string XtsAes256 = "xts-aes-256";
    public const string Raw = "raw";
    public const string Qcow2 = "qcow2";

    public static readonly string[] Compressions = [Lz4, None];
    public static readonly string[] Encryptions = [XtsAes256];
    public static readonly string[] BaseFormats = [Raw, Qcow2];

    public static string Of(Compression compression) => compression switch
    {
        Compression.None => None,
        Compression.Lz4 => Lz4,
        _ => throw new ArgumentOutOfRangeException(nameof(compression), compression, "no such compression"),
    };

    public static string Of(Encryption encryption) => encryption switch
    {
        Encryption.None => None,
        Encryption.XtsAes256 => XtsAes256,
        _ => throw new ArgumentOutOfRangeException(nameof(encryption), encryption, "no such encryption"),
    };

    public static string Of(BaseImageFormat format) => format switch
    {
        BaseImageFormat.Raw => Raw,
        BaseImageFormat.Qcow2 => Qcow2,
        _ => throw new ArgumentOutOfRangeException(nameof(format), format, "no such image format"),
    };

    public static Compression ToCompression(string name) => name switch
    {
        None => Compression.None,
        Lz4 => Compression.Lz4,
        _ => throw CommandException.Usage($"'{Text.DiskAddress.Printable(name)}' is not a compression; use lz4 or none"),
    };

    public static Encryption ToEncryption(string name) => name switch
    {
        None => Encryption.None,
        XtsAes256 => Encryption.XtsAes256,
        _ => throw CommandException.Usage($"'{Text.DiskAddress.Printable(name)}' is not a cipher; use xts-aes-256"),
    };

    public static BaseImageFormat ToBaseFormat(string name) => name switch
    {
        Raw => BaseImageFormat.Raw,
        Qcow2 => BaseImageFormat.Qcow2,
        _ => throw CommandException.Usage($"'{Text.DiskAddress.Printable(name)}' is not an image format; use raw or qcow2"),
    };
}
