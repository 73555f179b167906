using System.Diagnostics.CodeAnalysis;
using System.Globalization;
using System.Net;
using System.Net.Sockets;

namespace CowScsi.Vdisk.Serving;

/// <summary>An address that initiators connect to, as HOST:PORT ("127.0.0.1:3260", "[::1]:3260", "storage.example:3260").</summary>
internal readonly record struct Portal(string Host, int Port)
{
    /// <summary>RFC 7143, 13.8: the port that IANA gave iSCSI.</summary>
    public const int DefaultPort = 3260;

    public static readonly Portal Default = new("127.0.0.1", DefaultPort);

    /// <summary>As it is written, IPv6 literals in brackets.</summary>
    public override string ToString() =>
        Host.Contains(':') ? string.Create(CultureInfo.InvariantCulture, $"[{Host}]:{Port}") : string.Create(CultureInfo.InvariantCulture, $"{Host}:{Port}");

    /// <summary>Reads HOST:PORT or HOST. Port 0 takes any that is free.</summary>
    public static bool TryParse(string text, out Portal portal, [NotNullWhen(false)] out string? error)
    {
        portal = default;
        error = $"'{text}' is not a portal; write HOST:PORT, for example 127.0.0.1:{DefaultPort} or [::1]:{DefaultPort}";
        string host;
        string rest;
        if (text.StartsWith('['))
        {
            var close = text.IndexOf(']');
            if (close < 0)
                return false;
            host = text[1..close];
            rest = text[(close + 1)..];
            if (!IPAddress.TryParse(host, out var literal) || literal.AddressFamily != AddressFamily.InterNetworkV6)
                return false;
        }
        else
        {
            var colon = text.IndexOf(':');
            host = colon < 0 ? text : text[..colon];
            rest = colon < 0 ? "" : text[colon..];
            if (Uri.CheckHostName(host) is not (UriHostNameType.Dns or UriHostNameType.IPv4))
                return false;
        }

        var port = DefaultPort;
        if (rest.Length > 0 && (rest[0] != ':' || !ushort.TryParse(rest.AsSpan(1), NumberStyles.None, CultureInfo.InvariantCulture, out var number)
            || (port = number) < 0))
            return false;
        portal = new Portal(host, port);
        error = null;
        return true;
    }

    /// <summary>The address to listen on; names are looked up.</summary>
    public async ValueTask<IPEndPoint> ResolveAsync(CancellationToken cancellation)
    {
        if (IPAddress.TryParse(Host, out var address))
            return new IPEndPoint(address, Port);
        try
        {
            var addresses = await Dns.GetHostAddressesAsync(Host, cancellation);
            return new IPEndPoint(addresses[0], Port);
        }
        catch (SocketException error)
        {
            throw new CommandException(ExitCode.NotFound, $"cannot find the address of '{Host}': {error.Message}", error);
        }
    }
}
