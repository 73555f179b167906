using System.Net;

namespace CowScsi.Iscsi;

/// <summary>Where logins to a target are sent instead (RFC 7143, 11.13.5, status class 1).</summary>
public sealed class IscsiRedirection
{
    /// <param name="to">The portal that has the target: an <see cref="IPEndPoint"/>, or a <see cref="DnsEndPoint"/> for a name.</param>
    /// <param name="isPermanent">Tells initiators to remember it (0102, target moved permanently) instead of for this login (0101).</param>
    /// <exception cref="ArgumentException">Not such an address, any address, or port 0.</exception>
    public IscsiRedirection(EndPoint to, bool isPermanent = false)
    {
        ArgumentNullException.ThrowIfNull(to);
        To = to;
        IsPermanent = isPermanent;
        TargetAddress = to switch
        {
            IPEndPoint { Port: > 0 } ip when !ip.Address.Equals(IPAddress.Any) && !ip.Address.Equals(IPAddress.IPv6Any) => ip.ToString(),
            DnsEndPoint { Port: > 0 } dns when IsHostName(dns.Host) => $"{dns.Host}:{dns.Port}",
            _ => throw new ArgumentException("a redirection goes to an address or a host name, and a port", nameof(to)),
        };
    }

    public EndPoint To { get; }

    public bool IsPermanent { get; }

    /// <summary>TargetAddress as a redirected login is told: without a portal group tag (RFC 7143, 13.8).</summary>
    public string TargetAddress { get; }

    public override string ToString() => $"{TargetAddress} ({(IsPermanent ? "permanently" : "temporarily")})";

    private static bool IsHostName(string host)
    {
        foreach (var c in host)
        {
            if (!char.IsAsciiLetterOrDigit(c) && c is not ('-' or '.'))
                return false;
        }

        return host.Length is > 0 and <= 253;
    }
}
