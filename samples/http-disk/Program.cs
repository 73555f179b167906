// An image on a web server as a disk, fetched where it is read: dotnet run --project samples/http-disk -- https://example.org/disk.img
using System.Collections.Concurrent;
using System.Net.Http.Headers;
using CowScsi.Layers;
using CowScsi.Samples;

if (args is not [var address, ..] || !Uri.TryCreate(address, UriKind.Absolute, out var url) || url.Scheme is not ("http" or "https"))
{
    Console.Error.WriteLine($"usage: http-disk URL [{Serving.Transports}]");
    return 2;
}

using var client = new HttpClient { Timeout = TimeSpan.FromSeconds(10), MaxResponseContentBufferSize = 1 << 20 };
return await Serving.RunAsync("http-disk", address, args.ElementAtOrDefault(1), () =>
{
    using var head = client.Send(new HttpRequestMessage(HttpMethod.Head, url)).EnsureSuccessStatusCode();
    return head.Headers.ETag is { IsWeak: false } version && head.Content.Headers.ContentLength is { } bytes
        ? new HttpDisk(client, url, bytes, version) { Log = Console.Error.WriteLine }
        : throw new IOException("the server tells no length, or no strong ETag");
});

/// <summary>Pieces of the file are fetched once and kept in memory; writes change them there. A fetch that fails is an error of its request.</summary>
internal sealed class HttpDisk(HttpClient client, Uri url, long fileBytes, EntityTagHeaderValue version)
    : SimpleBlockDevice(BlockGeometry.OfSize((fileBytes + 511) & ~511L), threads: 4)
{
    private const int PieceBytes = 64 << 10, PartialContent = 206;
    private readonly ConcurrentDictionary<long, byte[]> pieces = new();

    protected override BlockOutcome Read(long offsetBytes, Span<byte> destination)
    {
        for (Span<byte> part; !destination.IsEmpty; destination = destination[part.Length..], offsetBytes += part.Length)
            (part = PartAt(offsetBytes, destination.Length)).CopyTo(destination);
        return BlockOutcome.Success;
    }

    protected override BlockOutcome Write(long offsetBytes, ReadOnlySpan<byte> source)
    {
        for (Span<byte> part; !source.IsEmpty; source = source[part.Length..], offsetBytes += part.Length)
            source[..(part = PartAt(offsetBytes, source.Length)).Length].CopyTo(part);
        return BlockOutcome.Success;
    }

    protected override BlockOutcome Flush() => BlockOutcome.Success;

    private Span<byte> PartAt(long offsetBytes, int bytesMax) => pieces.GetOrAdd(offsetBytes & -PieceBytes, Fetch)
        .AsSpan((int)(offsetBytes % PieceBytes), (int)Math.Min(PieceBytes - (offsetBytes % PieceBytes), bytesMax));

    private byte[] Fetch(long start)
    {
        var count = (int)Math.Min(PieceBytes, fileBytes - start);
        using var request = new HttpRequestMessage(HttpMethod.Get, url) { Headers = { Range = new(start, start + count - 1), IfMatch = { version } } };
        using var response = client.Send(request);
        if ((int)response.StatusCode != PartialContent || response.Content.Headers.ContentRange?.From != start)
            throw new IOException($"the server answers {(int)response.StatusCode} to a range of the file");
        var piece = new byte[PieceBytes];
        response.Content.ReadAsStream().ReadExactly(piece, 0, count);
        return piece;
    }
}
