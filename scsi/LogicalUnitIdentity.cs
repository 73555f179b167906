using System.Buffers.Binary;
using System.Security.Cryptography;
using System.Text;

namespace CowScsi.Scsi;

/// <summary>
/// What makes a logical unit this one and no other (SPC-5, 6.7.2 and 7.7). It must stay the same for the life of a disk and differ
/// between a clone and its origin: initiators join paths to a disk by it.
/// </summary>
public sealed class LogicalUnitIdentity
{
    /// <summary>T10 vendor identification, 8 characters.</summary>
    public const int VendorBytes = 8;

    /// <summary>Product identification, 16 characters.</summary>
    public const int ProductBytes = 16;

    /// <summary>Product revision level, 4 characters.</summary>
    public const int RevisionBytes = 4;

    /// <summary>Longest unit serial number that is taken; SPC-5 gives no bound, initiators keep 36 and more.</summary>
    public const int SerialNumberBytesMax = 64;

    /// <summary>The vendor identification used unless another is given.</summary>
    public const string DefaultVendor = "COWSCSI";

    private const string DefaultRevision = "0001";
    private const int Eui64Bytes = 8;

    /// <summary>U/L of an EUI-64: it is assigned locally, not from the range of a company.</summary>
    private const byte LocallyAssigned = 0x02;

    private const byte GroupBit = 0x01;

    private readonly byte[] vendor;
    private readonly byte[] product;
    private readonly byte[] revision;
    private readonly byte[] serialNumber;
    private readonly byte[] naa;
    private readonly byte[] eui64;
    private readonly byte[] scsiName;

    /// <summary>Stores the parts, space-padded to their fields.</summary>
    /// <param name="vendor">1 to 8 characters of ASCII.</param>
    /// <param name="product">1 to 16 characters of ASCII.</param>
    /// <param name="revision">1 to 4 characters of ASCII.</param>
    /// <param name="serialNumber">1 to 64 characters of ASCII.</param>
    /// <param name="naa">An NAA designator (SPC-5, 7.7.6.6): 8 bytes, or 16 bytes for NAA 6.</param>
    /// <param name="eui64">An EUI-64 (SPC-5, 7.7.6.5) of 8 bytes; empty for none.</param>
    public LogicalUnitIdentity(
        string vendor, string product, string revision, string serialNumber, ReadOnlySpan<byte> naa, ReadOnlySpan<byte> eui64 = default)
    {
        this.vendor = Field(vendor, VendorBytes, VendorBytes);
        this.product = Field(product, ProductBytes, ProductBytes);
        this.revision = Field(revision, RevisionBytes, RevisionBytes);
        this.serialNumber = Field(serialNumber, 0, SerialNumberBytesMax);
        var expected = naa.Length > 0 && naa[0] >> 4 == 6 ? 16 : 8;
        if (naa.Length != expected)
            throw new ArgumentException("An NAA designator is 8 bytes, or 16 bytes where it is of type 6.", nameof(naa));
        if (eui64.Length is not (0 or Eui64Bytes))
            throw new ArgumentException("An EUI-64 is 8 bytes.", nameof(eui64));
        this.naa = naa.ToArray();
        this.eui64 = eui64.ToArray();
        scsiName = Encoding.ASCII.GetBytes("naa." + Convert.ToHexString(naa));
    }

    /// <summary>T10 vendor identification, 8 bytes of ASCII.</summary>
    public ReadOnlySpan<byte> Vendor => vendor;

    /// <summary>Product identification, 16 bytes of ASCII.</summary>
    public ReadOnlySpan<byte> Product => product;

    /// <summary>Product revision level, 4 bytes of ASCII.</summary>
    public ReadOnlySpan<byte> Revision => revision;

    /// <summary>Unit serial number, ASCII.</summary>
    public ReadOnlySpan<byte> SerialNumber => serialNumber;

    /// <summary>NAA designator: 8 or 16 bytes.</summary>
    public ReadOnlySpan<byte> Naa => naa;

    /// <summary>EUI-64: 8 bytes, or empty.</summary>
    public ReadOnlySpan<byte> Eui64 => eui64;

    /// <summary>The SCSI name string of the logical unit: "naa." and the designator in hexadecimal.</summary>
    internal ReadOnlySpan<byte> ScsiName => scsiName;

    /// <summary>What the REPORT LUNS well-known logical unit says of itself; it has no medium to tell apart.</summary>
    internal static LogicalUnitIdentity WellKnown { get; } =
        new(DefaultVendor, "REPORT LUNS", DefaultRevision, "0", [0x30, 0, 0, 0, 0, 0, 0, 0]);

    /// <summary>
    /// The identity of a virtual disk: everything that tells disks apart comes from <paramref name="id"/>, the name only reads well.
    /// </summary>
    /// <remarks>
    /// The serial number is the id in hexadecimal. The designator is of NAA type 3h (locally assigned): a type 6h one needs an IEEE
    /// company identifier, which this product has none of, so the NAA carries 60 bits of the id. The EUI-64 has its U/L bit set for the same
    /// reason, and carries 62 bits.
    /// </remarks>
    public static LogicalUnitIdentity FromDisk(Guid id, string name)
    {
        ArgumentNullException.ThrowIfNull(name);
        Span<byte> idBytes = stackalloc byte[16];
        id.TryWriteBytes(idBytes, bigEndian: true, out _);
        Span<byte> naa = stackalloc byte[8];
        var high = BinaryPrimitives.ReadUInt64BigEndian(idBytes);
        var low = BinaryPrimitives.ReadUInt64BigEndian(idBytes[8..]);
        BinaryPrimitives.WriteUInt64BigEndian(naa, (0x3UL << 60) | (Mix(high, low) >> 4));
        Span<byte> eui64 = stackalloc byte[Eui64Bytes];
        BinaryPrimitives.WriteUInt64BigEndian(eui64, Mix(low, high));
        eui64[0] = (byte)((eui64[0] | LocallyAssigned) & ~GroupBit);
        return new LogicalUnitIdentity(DefaultVendor, ProductName(name), DefaultRevision, id.ToString("N"), naa, eui64);
    }

    /// <summary>
    /// The identity of a disk that is known by its name alone, and by the same one each time: two disks that initiators must not take for
    /// one have different names.
    /// </summary>
    /// <param name="name">Not empty; what of it can be shown becomes the product identification.</param>
    public static LogicalUnitIdentity FromName(string name)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(name);
        var digest = SHA256.HashData(Encoding.UTF8.GetBytes(name));
        return FromDisk(new Guid(digest.AsSpan(0, 16), bigEndian: true), name);
    }

    /// <summary>Folds 128 bits to 64 so that every bit of the id counts (the finalizer of MurmurHash3, twice).</summary>
    private static ulong Mix(ulong high, ulong low)
    {
        var x = high ^ Finish(low);
        return Finish(x);

        static ulong Finish(ulong value)
        {
            value ^= value >> 33;
            value *= 0xFF51AFD7ED558CCDUL;
            value ^= value >> 33;
            value *= 0xC4CEB9FE1A85EC53UL;
            return value ^ (value >> 33);
        }
    }

    /// <summary>The part of a disk's name that the product field can hold: printable ASCII, at most 16 characters.</summary>
    private static string ProductName(string name)
    {
        var text = new StringBuilder(ProductBytes);
        foreach (var c in name)
        {
            if (text.Length == ProductBytes)
                break;
            text.Append(c is > ' ' and < (char)0x7F ? c : '_');
        }

        return text.Length == 0 ? "VDISK" : text.ToString();
    }

    private static byte[] Field(string text, int widthBytes, int lengthMax)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(text);
        if (text.Length > lengthMax)
            throw new ArgumentException($"'{text}' is longer than {lengthMax} characters.", nameof(text));
        foreach (var c in text)
        {
            if (c is < ' ' or > '~')
                throw new ArgumentException($"'{text}' is not printable ASCII.", nameof(text));
        }

        return Encoding.ASCII.GetBytes(text.PadRight(widthBytes));
    }
}
