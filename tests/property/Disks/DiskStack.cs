using CowScsi.Layers;

namespace CowScsi.Tests.Property;

public enum BaseKind
{
    None,
    Raw,
    Qcow2,
}

/// <summary>What a disk is made of.</summary>
public sealed record DiskStack(Compression Compression, Encryption Encryption, BaseKind Base, int LogicalBlockBytes)
{
    public override string ToString() =>
        $"{(Compression == Compression.Lz4, Encryption == Encryption.XtsAes256) switch
        {
            (false, false) => "plain",
            (true, false) => "lz4",
            (false, true) => "xts",
            _ => "lz4+xts",
        }}/{Base}/{LogicalBlockBytes}";
}
