using System.Runtime.InteropServices;

namespace CowScsi.Layers;

/// <summary>OpenSSL's EVP cipher calls (libcrypto 3): one declaration of each.</summary>
internal static unsafe partial class LibCrypto
{
    internal const string Library = "libcrypto.so.3";
    internal const string Package = "libssl3";

    /// <summary>EVP_CipherInit_ex: keep the direction that the context has.</summary>
    internal const int KeepDirection = -1;

    [LibraryImport(Library)]
    internal static partial nint EVP_aes_256_xts();

    [LibraryImport(Library)]
    internal static partial nint EVP_CIPHER_CTX_new();

    /// <summary>Frees a context; the key schedule in it is cleansed.</summary>
    [LibraryImport(Library)]
    internal static partial void EVP_CIPHER_CTX_free(nint context);

    [LibraryImport(Library)]
    internal static partial int EVP_CipherInit_ex(nint context, nint cipher, nint engine, byte* key, byte* iv, int encrypt);

    [LibraryImport(Library)]
    internal static partial int EVP_CipherUpdate(nint context, byte* output, out int outputBytes, byte* input, int inputBytes);
}
