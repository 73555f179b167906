using System.Buffers.Binary;
using System.Text;

namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>What an entry of the log says of its write; drivers/md/dm-log-writes.c.</summary>
[Flags]
internal enum WriteFlags : ulong
{
    None = 0,
    Flush = 1,
    ForceUnitAccess = 2,
    Discard = 4,
    Mark = 8,
    Metadata = 16,
}

/// <summary>One write that reached the device, or a mark.</summary>
/// <param name="OffsetBytes">Where on the device.</param>
/// <param name="LengthBytes">How much; 0 for a bare flush and a mark.</param>
/// <param name="DataBytes">Where in the log the data lie.</param>
/// <param name="Mark">Text of a mark, else "".</param>
internal readonly record struct LoggedWrite(long OffsetBytes, long LengthBytes, WriteFlags Flags, long DataBytes, string Mark)
{
    public bool IsFlush => Flags.HasFlag(WriteFlags.Flush);

    public bool IsMark => Flags.HasFlag(WriteFlags.Mark);

    /// <summary>Durable when it was answered, without a flush. A flush that carries data is not counted here.</summary>
    public bool IsForced => Flags.HasFlag(WriteFlags.ForceUnitAccess) && !IsFlush;

    /// <summary>Written, answered, and lost by a power cut before the next flush.</summary>
    public bool IsVolatile => !IsMark && !IsFlush && !IsForced && LengthBytes > 0;
}

/// <summary>
/// The log that Linux's dm-log-writes leaves on its second device, little-endian. Its first sector:
/// <code>
///    0  8  magic 0x6a736677736872
///    8  8  version, 1
///   16  8  number of entries
///   24  4  bytes of a sector, S
/// </code>
/// From the second sector on, the entries, each a sector and then its data in whole sectors, none for a mark, a discard and a bare flush:
/// <code>
///    0  8  first sector on the device
///    8  8  number of sectors
///   16  8  flags
///   24  8  bytes of text behind this field, for a mark
/// </code>
/// Writes stand in the order in which they were answered, but not before the flush that makes them durable: those that were answered before
/// a flush was sent come right before it. A forced write, a flush and a mark stand where they ended.
/// </summary>
internal sealed class WriteLog
{
    private const ulong Magic = 0x6a73_6677_7368_72;
    private const int HeaderBytes = 32;
    private const int SectorBytesMax = 4096;

    private WriteLog(List<LoggedWrite> entries) => Entries = entries;

    public IReadOnlyList<LoggedWrite> Entries { get; }

    /// <exception cref="InvalidDataException">It is not such a log.</exception>
    public static WriteLog Read(Stream log)
    {
        Span<byte> header = stackalloc byte[HeaderBytes];
        log.Position = 0;
        log.ReadExactly(header);
        var sectorBytes = BinaryPrimitives.ReadInt32LittleEndian(header[24..]);
        if (BinaryPrimitives.ReadUInt64LittleEndian(header) != Magic || BinaryPrimitives.ReadUInt64LittleEndian(header[8..]) != 1)
            throw new InvalidDataException("not a log of dm-log-writes, version 1");
        if (sectorBytes is < 512 or > SectorBytesMax)
            throw new InvalidDataException($"a sector of {sectorBytes} bytes");
        var count = BinaryPrimitives.ReadInt64LittleEndian(header[16..]);
        List<LoggedWrite> entries = [];
        var position = (long)sectorBytes;
        while (entries.Count < count)
        {
            var entry = ReadEntry(log, position, sectorBytes);
            entries.Add(entry);
            position = entry.DataBytes + (HasData(entry) ? entry.LengthBytes : 0);
        }

        return new WriteLog(entries);
    }

    public static bool HasData(LoggedWrite entry) => !entry.IsMark && !entry.Flags.HasFlag(WriteFlags.Discard);

    private static LoggedWrite ReadEntry(Stream log, long position, int sectorBytes)
    {
        Span<byte> sector = stackalloc byte[SectorBytesMax];
        sector = sector[..sectorBytes];
        log.Position = position;
        log.ReadExactly(sector);
        var offset = BinaryPrimitives.ReadInt64LittleEndian(sector);
        var sectors = BinaryPrimitives.ReadInt64LittleEndian(sector[8..]);
        var flags = (WriteFlags)BinaryPrimitives.ReadUInt64LittleEndian(sector[16..]);
        var textBytes = BinaryPrimitives.ReadInt64LittleEndian(sector[24..]);
        if (offset < 0 || sectors < 0 || textBytes < 0 || textBytes > sectorBytes - HeaderBytes)
            throw new InvalidDataException($"the entry at {position} of the log is none");
        var mark = flags.HasFlag(WriteFlags.Mark) ? Encoding.UTF8.GetString(sector.Slice(HeaderBytes, (int)textBytes)).TrimEnd('\0') : "";
        return new LoggedWrite(offset * sectorBytes, sectors * sectorBytes, flags, position + sectorBytes, mark);
    }
}
