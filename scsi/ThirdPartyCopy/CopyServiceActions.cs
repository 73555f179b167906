namespace CowScsi.Scsi;

/// <summary>Operation codes and service actions of the third-party copy commands (SPC-4, 6.2).</summary>
internal static class CopyServiceActions
{
    public const byte CopyOut = 0x83;
    public const byte CopyIn = 0x84;

    public const int ExtendedCopyLid1 = 0x00;
    public const int ExtendedCopyLid4 = 0x01;
    public const int PopulateToken = 0x10;
    public const int WriteUsingToken = 0x11;
    public const int CopyOperationAbort = 0x1C;

    public const int StatusLid1 = 0x00;
    public const int DataLid1 = 0x01;
    public const int OperatingParameters = 0x03;
    public const int FailureDetailsLid1 = 0x04;
    public const int StatusLid4 = 0x05;
    public const int RodTokenInformation = 0x07;
    public const int ReportAllRodTokens = 0x08;
}
