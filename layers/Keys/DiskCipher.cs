namespace CowScsi.Layers;

/// <summary>The cipher of an open disk, and which data key it has. Immutable: a new data key is a new one of these.</summary>
internal sealed class DiskCipher(XtsCipher cipher, Guid keyId, ulong firstExtent) : IDisposable
{
    public XtsCipher Cipher { get; } = cipher;

    /// <summary>Names the data key; clones share their origin's. Never empty.</summary>
    public Guid KeyId { get; } = keyId;

    /// <summary>Extents with a lower id were stored under a data key that is destroyed: with this one they would decrypt to noise.</summary>
    public ulong FirstExtent { get; } = firstExtent;

    public void Dispose() => Cipher.Dispose();
}
