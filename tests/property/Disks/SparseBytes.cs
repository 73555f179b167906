using CowScsi.Engine;

namespace CowScsi.Tests.Property;

/// <summary>
/// What a disk should read as: pages of 64 KiB that were changed, over the base image, over zeros. A copy shares pages, which are replaced
/// and never changed.
/// </summary>
internal sealed class SparseBytes
{
    private readonly Dictionary<uint, byte[]> pages;
    private readonly byte[] baseImage;

    public SparseBytes(byte[] baseImage)
        : this([], baseImage)
    {
    }

    private SparseBytes(Dictionary<uint, byte[]> pages, byte[] baseImage)
    {
        this.pages = pages;
        this.baseImage = baseImage;
    }

    public IEnumerable<uint> ChangedPages => pages.Keys;

    public int BaseBytes => baseImage.Length;

    public SparseBytes Copy() => new(new Dictionary<uint, byte[]>(pages), baseImage);

    public void Read(long offset, Span<byte> destination)
    {
        while (destination.Length > 0)
        {
            var inPage = (int)(offset % StoreFormat.PageBytes);
            var part = destination[..Math.Min(StoreFormat.PageBytes - inPage, destination.Length)];
            if (pages.TryGetValue((uint)(offset / StoreFormat.PageBytes), out var page))
                page.AsSpan(inPage, part.Length).CopyTo(part);
            else
                ReadBase(offset, part);
            destination = destination[part.Length..];
            offset += part.Length;
        }
    }

    public void Write(long offset, ReadOnlySpan<byte> source)
    {
        while (source.Length > 0)
        {
            var inPage = (int)(offset % StoreFormat.PageBytes);
            var part = source[..Math.Min(StoreFormat.PageBytes - inPage, source.Length)];
            var page = new byte[StoreFormat.PageBytes];
            Read(offset - inPage, page);
            part.CopyTo(page.AsSpan(inPage));
            pages[(uint)(offset / StoreFormat.PageBytes)] = page;
            source = source[part.Length..];
            offset += part.Length;
        }
    }

    /// <summary>Zeroes a range that may be far larger than what was ever changed.</summary>
    public void Zero(long offset, long length)
    {
        Span<byte> zeros = new byte[StoreFormat.PageBytes];
        var end = offset + length;
        var touched = new SortedSet<uint>(pages.Keys);
        for (uint page = 0; page < (baseImage.Length + StoreFormat.PageBytes - 1) / StoreFormat.PageBytes; page++)
            touched.Add(page);
        foreach (var page in touched)
        {
            var from = Math.Max(offset, (long)page * StoreFormat.PageBytes);
            var to = Math.Min(end, (long)(page + 1) * StoreFormat.PageBytes);
            if (from < to)
                Write(from, zeros[..(int)(to - from)]);
        }
    }

    private void ReadBase(long offset, Span<byte> destination)
    {
        destination.Clear();
        if (offset < baseImage.Length)
            baseImage.AsSpan((int)offset, (int)Math.Min(destination.Length, baseImage.Length - offset)).CopyTo(destination);
    }
}
