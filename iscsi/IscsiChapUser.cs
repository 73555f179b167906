using CowScsi.Iscsi.Login;

namespace CowScsi.Iscsi;

/// <summary>A name and a secret that an initiator proves by CHAP (RFC 7143, 12.1.3). The secret is shown nowhere.</summary>
public sealed class IscsiChapUser
{
    /// <param name="name">CHAP_N of the initiator: 1 to 255 bytes of UTF-8 without control characters.</param>
    /// <param name="secret">
    /// Its secret, 1 to 255 bytes of UTF-8. <see cref="IscsiAccess"/> asks for more than that unless told otherwise.
    /// </param>
    /// <exception cref="ArgumentException">The name or the secret lies outside its limits.</exception>
    public IscsiChapUser(string name, string secret)
    {
        Name = ChapSecret.CheckName(name);
        Secret = new ChapSecret(secret);
    }

    public string Name { get; }

    internal ChapSecret Secret { get; }

    public override string ToString() => Name;

    internal bool IsSameAs(IscsiChapUser other) => Name == other.Name && Secret.Equals(other.Secret);
}
