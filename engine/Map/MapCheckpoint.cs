namespace CowScsi.Engine;

/// <summary>What a checkpoint says of the map; part of the store's checkpoint file. docs/format.md, "Checkpoint".</summary>
/// <param name="IndexToken">Names the image of the hash index.</param>
/// <param name="LogToken">FASTER's name for the part of the record log.</param>
/// <param name="IndexMetadata">As FASTER gave it, with white space behind it.</param>
/// <param name="LogMetadata">The same.</param>
/// <param name="IndexFileBytes">Length of the index image.</param>
/// <param name="IndexFileChecksum">Its CRC-32C.</param>
/// <param name="MapTag">Ties records to one incarnation of the map.</param>
/// <param name="LogName">Of the record log's files, without their number.</param>
/// <param name="LogBegin">First address of the record log that counts.</param>
/// <param name="LogTail">Address behind the last record.</param>
/// <param name="SumsChecksum">CRC-32C of the sums of the record log's full chunks in front of <paramref name="LogTail"/>.</param>
/// <param name="LogPageBytes">Size of the record log's pages; no record crosses the end of one.</param>
/// <param name="LastChunk">What the chunk of <paramref name="LogTail"/> holds in front of it.</param>
internal sealed record MapCheckpoint(
    Guid IndexToken,
    Guid LogToken,
    byte[] IndexMetadata,
    byte[] LogMetadata,
    long IndexFileBytes,
    uint IndexFileChecksum,
    uint MapTag,
    string LogName,
    long LogBegin,
    long LogTail,
    uint SumsChecksum,
    uint LogPageBytes,
    byte[] LastChunk)
{
    /// <summary>Name in the store of the file with the chunks' sums.</summary>
    public string SumsName => SumsNameOf(LogName);

    public static string SumsNameOf(string logName) => $"{BlockMap.Folder}/{Path.GetFileNameWithoutExtension(logName)}.crc";
}
