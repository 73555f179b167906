using CowScsi.Iscsi.Login;

namespace CowScsi.Iscsi;

/// <summary>
/// The name and secret with which the target answers an initiator that authenticates it in turn (mutual CHAP, RFC 7143, 12.1.3). The
/// secret is shown nowhere.
/// </summary>
public sealed class IscsiChapCredentials
{
    /// <param name="name">CHAP_N of the target: 1 to 255 bytes of UTF-8 without control characters.</param>
    /// <param name="secret">Its secret, 1 to 255 bytes of UTF-8; it must differ from that of every user.</param>
    /// <exception cref="ArgumentException">The name or the secret lies outside its limits.</exception>
    public IscsiChapCredentials(string name, string secret)
    {
        Name = ChapSecret.CheckName(name);
        Secret = new ChapSecret(secret);
    }

    public string Name { get; }

    internal ChapSecret Secret { get; }

    public override string ToString() => Name;
}
