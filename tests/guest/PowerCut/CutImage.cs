namespace CowScsi.Tests.Guest.PowerCut;

/// <summary>
/// A device's content, rolled forward along a log, and written out as it is at a cut point. Only what was ever written is copied: the rest of
/// the file is a hole.
/// </summary>
internal sealed class CutImage
{
    private const int ChunkBytes = 64 << 10;

    private readonly byte[] content;
    private readonly bool[] used;
    private readonly WriteLog log;
    private readonly FileStream logFile;
    private int applied;

    /// <param name="before">The device as it was before the first entry.</param>
    public CutImage(string before, WriteLog log, FileStream logFile)
    {
        this.log = log;
        this.logFile = logFile;
        content = File.ReadAllBytes(before);
        used = new bool[(content.Length + ChunkBytes - 1) / ChunkBytes];
        for (var chunk = 0; chunk < used.Length; chunk++)
            used[chunk] = Chunk(content, chunk).IndexOfAnyExcept((byte)0) >= 0;
    }

    /// <summary>Writes the state at a point to a file, over whatever it held; points come in ascending order.</summary>
    public void WriteTo(string path, CutPoint point)
    {
        for (; applied < point.Until; applied++)
            Apply(content, log.Entries[applied], 0, log.Entries[applied].LengthBytes);
        var target = content;
        if (point.Loss is not null)
        {
            target = (byte[])content.Clone();
            Lose(target, point, point.Loss);
        }

        // The file stays the same file: the guest has it as a disk.
        using var file = new FileStream(path, FileMode.Open, FileAccess.Write, FileShare.ReadWrite, 0);
        file.SetLength(0);
        file.SetLength(content.Length);
        for (var chunk = 0; chunk < used.Length; chunk++)
        {
            if (!used[chunk])
                continue;
            file.Position = (long)chunk * ChunkBytes;
            file.Write(Chunk(target, chunk));
        }
    }

    private void Lose(byte[] target, CutPoint point, CutLoss loss)
    {
        var random = new Random(loss.Seed);
        for (var i = point.Until; i < point.Next; i++)
        {
            var entry = log.Entries[i];
            if (!entry.IsVolatile)
                Apply(target, entry, 0, entry.LengthBytes);
            else if (random.Next(100) < loss.LostOfHundred)
                continue;
            else if (random.Next(100) >= loss.TornOfHundred)
                Apply(target, entry, 0, entry.LengthBytes);
            else
                Tear(target, entry, loss.PieceBytes, random);
        }
    }

    private void Tear(byte[] target, LoggedWrite entry, int pieceBytes, Random random)
    {
        for (long piece = 0; piece < entry.LengthBytes; piece += pieceBytes)
        {
            if (random.Next(2) == 0)
                Apply(target, entry, piece, Math.Min(pieceBytes, entry.LengthBytes - piece));
        }
    }

    private void Apply(byte[] target, LoggedWrite entry, long from, long lengthBytes)
    {
        if (entry.IsMark || lengthBytes == 0)
            return;
        var place = target.AsSpan(checked((int)(entry.OffsetBytes + from)), checked((int)lengthBytes));
        if (WriteLog.HasData(entry))
        {
            logFile.Position = entry.DataBytes + from;
            logFile.ReadExactly(place);
        }
        else
        {
            place.Clear();
        }

        for (var chunk = (entry.OffsetBytes + from) / ChunkBytes; chunk * ChunkBytes < entry.OffsetBytes + from + lengthBytes; chunk++)
            used[chunk] = true;
    }

    private static Span<byte> Chunk(byte[] bytes, int chunk) =>
        bytes.AsSpan(chunk * ChunkBytes, Math.Min(ChunkBytes, bytes.Length - (chunk * ChunkBytes)));
}
