using Xunit.Sdk;

namespace CowScsi.Tests.Property;

/// <summary>Calls that fail, a disk that is full, damage, lies. Whatever happens: what can be read is right, the rest is an error by name.</summary>
internal sealed partial class SimulatedWorld
{
    private const int SectorBytes = 512;

    private static readonly string[] NameStarts = ["", "segments/", "segments/", "superblock", "checkpoint-", "map/"];

    private bool flushFailed;

    private bool AttemptFault(HistoryStep what)
    {
        var random = new Random(what.Place);
        switch (what.Verb)
        {
            case HistoryVerb.FailCall:
                var fault = random.Next(3) == 0 ? DiskFault.OutOfSpace : DiskFault.Error;
                store.Directory.Faults.Plan(new PlannedFault(
                    fault,
                    fault == DiskFault.OutOfSpace ? Pick(random, DiskCall.Create, DiskCall.Write, DiskCall.Allocate) : (DiskCall)random.Next((int)DiskCall.SetLength + 1),
                    NameStarts[random.Next(NameStarts.Length)],
                    random.Next(8),
                    random.Next(2) == 0 ? 1 : int.MaxValue / 2,
                    random.Next()));
                return true;
            case HistoryVerb.FillDisk:
                store.Directory.CapacityBytes = store.Directory.CapacityBytes < NeverFull
                    ? NeverFull
                    : NeverFull - store.Directory.FreeBytes + random.Next(12 << 20);
                return true;
            case HistoryVerb.Damage:
                Damage(random);
                return true;
            default:
                Lie(random);
                return true;
        }
    }

    private const long NeverFull = 1L << 40;

    private static DiskCall Pick(Random random, params ReadOnlySpan<DiskCall> calls) => calls[random.Next(calls.Length)];

    /// <summary>
    /// An operation was refused: the faults are over, and what of it happened is learned. A log that takes nothing more is opened anew.
    /// </summary>
    private void AfterFailure()
    {
        flushFailed |= HasFailedFlush();
        store.Directory.Faults.Clear();
        if (store.Store.Store.IsDisposed)
        {
            // The close failed; the log has what counts.
            var before = store.Durable;
            if (flushFailed)
                CutPower(new Random(step));
            else
                GoOn(store.Directory, before, store.Oracle.Issued);
            return;
        }

        store.Learn();
        if (store.Store.Store.Log.Failure is not null)
            EndProcess(new Random(step));
    }

    private bool HasFailedFlush()
    {
        var journal = store.Directory.Journal;
        for (var i = store.OpenedAt; i < journal.Count; i++)
        {
            if (journal[i].Kind == DiskEventKind.FlushFailed)
                return true;
        }

        return false;
    }

    /// <summary>Damages one file at rest and opens the store: derived files are made anew, the rest is right or refused.</summary>
    private void Damage(Random random)
    {
        var image = store.Directory.Snapshot();
        var names = image.Files.Keys.Where(static name => name != "lock").Order(StringComparer.Ordinal).ToList();
        var name = names[random.Next(names.Count)];
        var kind = DamageFile(image, name, random);
        if (kind == DiskFault.None)
            return;
        DiskFaults.Count(kind, $"at rest, {ClassOf(name)}");
        StatesOpened++;
        var recovered = Recovered.Open(image, options, memory, isChecked: random.Next(3) == 0);
        var isDerived = name.StartsWith("map/", StringComparison.Ordinal) || name.StartsWith("checkpoint-", StringComparison.Ordinal);
        var low = name.StartsWith("segments/", StringComparison.Ordinal) ? store.Proven : store.Durable;
        if (recovered.Reading is null)
        {
            if (isDerived)
                throw new XunitException($"{kind} of {name}: {recovered.Text}");
            return;
        }

        // A page of the map is looked at when it is read: then what it leads to is an error.
        var mayBeUnreadable = !isDerived || name.StartsWith("map/pages-", StringComparison.Ordinal);
        if (!mayBeUnreadable && !recovered.IsClean)
            throw new XunitException($"{kind} of {name}: {recovered.Text}");
        if ((!mayBeUnreadable && !recovered.Reading.IsWhole) || store.Oracle.Find(recovered.Reading, low, store.Oracle.Issued) < 0)
            throw new XunitException($"{kind} of {name}: {store.Oracle.Explain(recovered.Reading, low, store.Oracle.Issued)}");
    }

    private static string ClassOf(string name) => name.Contains('/', StringComparison.Ordinal) ? name[..name.IndexOf('/', StringComparison.Ordinal)] : name.Split('-')[0];

    private DiskFault DamageFile(DiskImage image, string name, Random random)
    {
        var content = image.Own(name);
        if (content.LengthBytes == 0)
            return DiskFault.None;
        var place = random.NextInt64(content.LengthBytes);
        Span<byte> sector = stackalloc byte[SectorBytes];
        switch (random.Next(6))
        {
            case 0:
                image.Files.Remove(name);
                return DiskFault.MissingFile;
            case 1:
                content.SetLength(random.Next(2) == 0 ? place : place / 4096 * 4096);
                return DiskFault.CutFile;
            case 2:
                if (!store.Directory.Image.Files.TryGetValue(name, out var old))
                    return DiskFault.None;
                image.Files[name] = old;
                return DiskFault.OldFile;
            case 3:
                // What belonged elsewhere went here.
                content.Read(random.NextInt64(content.LengthBytes) / SectorBytes * SectorBytes, sector);
                content.Write(place / SectorBytes * SectorBytes, sector[..(int)Math.Min(SectorBytes, content.LengthBytes - (place / SectorBytes * SectorBytes))]);
                return DiskFault.MisdirectedWrite;
            default:
                // Most of a file may be holes; the fault is to hit something.
                for (var i = 0; i < 16; i++)
                {
                    content.Read(place, sector[..1]);
                    if (sector[0] != 0)
                        break;
                    place = random.NextInt64(content.LengthBytes);
                }

                content.Read(place, sector[..1]);
                sector[0] ^= (byte)(1 << random.Next(8));
                content.Write(place, sector[..1]);
                return DiskFault.FlippedBit;
        }
    }

    /// <summary>
    /// On a copy of the disk: a fault that no call tells of, some work, a crash, an opening. Then the copy is dropped.
    /// </summary>
    private void Lie(Random random)
    {
        var (call, fault) = random.Next(6) switch
        {
            0 => (DiskCall.Flush, DiskFault.LyingFlush),
            1 => (DiskCall.Write, DiskFault.LostWrite),
            2 => (DiskCall.Write, DiskFault.MisdirectedWrite),
            3 => (DiskCall.Read, DiskFault.MisdirectedRead),
            4 => (DiskCall.Read, DiskFault.StaleRead),
            _ => (DiskCall.Read, DiskFault.FlippedBit),
        };
        var main = store;
        var directory = new SimulatedDirectory(store.Directory.Snapshot());
        try
        {
            store = SimulatedStore.Recover(directory, main.Oracle, main.Durable, main.Oracle.Issued, options, memory, out _);
            directory.Faults.Plan(new PlannedFault(fault, call, NameStarts[random.Next(NameStarts.Length)], random.Next(6), 1 + (random.Next(3) * 4), random.Next()));
            WorkUnderLies(random);
            store.Dispose();
            JudgeAfterLies(directory, call, random);
        }
        finally
        {
            store.Dispose();
            store = main;
        }
    }

    /// <summary>Some operations, of which some may fail; and a look at the running store: what it shows is right.</summary>
    private void WorkUnderLies(Random random)
    {
        for (var i = 0; i < 12; i++)
        {
            if (store.Oracle.Present.Disks.Count == 0)
                return;
            var disk = store.Oracle.Present.Disks.Values.ElementAt(random.Next(store.Oracle.Present.Disks.Count));
            var verb = LieVerbs[random.Next(LieVerbs.Length)];
            if (!Attempt(new HistoryStep(verb, 0, random.Next(10_000), random.Next(1000)), disk))
                break;
        }

        var reading = store.Read();
        if (store.Oracle.Find(reading, store.FailedFrom ?? store.Oracle.Issued, store.Oracle.Issued) < 0)
            throw new XunitException($"the running store: {store.Oracle.Explain(reading, store.FailedFrom ?? store.Oracle.Issued, store.Oracle.Issued)}");
    }

    private static readonly HistoryVerb[] LieVerbs =
        [HistoryVerb.WriteBlocks, HistoryVerb.WriteBlocks, HistoryVerb.WritePart, HistoryVerb.WriteMany, HistoryVerb.Flush, HistoryVerb.Flush, HistoryVerb.Snapshot, HistoryVerb.Checkpoint, HistoryVerb.Background];

    private void JudgeAfterLies(SimulatedDirectory directory, DiskCall call, Random random)
    {
        var image = directory.Snapshot();
        if (random.Next(2) == 0)
        {
            var states = new CrashStates(directory.Image, directory.Journal);
            states.AdvanceTo(directory.Journal.Count);
            image = states.Any(random);
        }

        StatesOpened++;
        var recovered = Recovered.Open(image, options, memory, isChecked: random.Next(3) == 0);
        // What only a read was told wrong stands on the disk as it should. What a flush or write promised falsely may be gone.
        var low = call == DiskCall.Read ? store.Durable : 0;
        if (recovered.Reading is not null && store.Oracle.Find(recovered.Reading, low, store.Oracle.Issued) < 0)
            throw new XunitException($"after a {call} that lied: {store.Oracle.Explain(recovered.Reading, low, store.Oracle.Issued)}");
        if (call == DiskCall.Read && !recovered.IsClean)
            throw new XunitException($"after a {call} that lied: {recovered.Text}");
    }
}
