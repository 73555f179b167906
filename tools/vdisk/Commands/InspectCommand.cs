using System.CommandLine;
using System.CommandLine.Parsing;
using System.Globalization;
using CowScsi.Engine;
using CowScsi.Layers;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>
/// `vdisk inspect`: what lies in the store's files, structure by structure. Reads only, asks no server, recovers nothing, and so works on a
/// store that does not open.
/// </summary>
internal static class InspectCommand
{
    private const string SecretsHint = "Show salts, wrapped keys and tags of the slots too";

    public static Command Build(CommandLine line) => new("inspect", "Show what lies in the store's files; works on a damaged store, changes nothing")
    {
        Simple(line, "superblock", "Both slots of the superblock", static store => store.Superblock()),
        BuildCheckpoint(line),
        Simple(line, "segments", "All segment files", static store => store.Segments()),
        BuildSegment(line),
        BuildRecord(line),
        Simple(line, "catalog", "Layers, disks and snapshots, as the log's records leave them", static store => Catalog(store)),
        BuildPage(line),
        BuildKeys(line),
    };

    private static Command Simple(CommandLine line, string name, string description, Func<StoreInspector, IReadOnlyList<InspectedPart>> read) =>
        line.WithAction(new Command(name, description), invocation => Run(invocation, read));

    private static Command BuildCheckpoint(CommandLine line)
    {
        var number = new Argument<ulong>("N") { Description = "Number of the checkpoint; the one in force where none is given", Arity = ArgumentArity.ZeroOrOne };
        var command = new Command("checkpoint", "A checkpoint: catalog, segments, layers") { number };
        return line.WithAction(command, invocation =>
        {
            ulong? wanted = invocation.Arguments.GetResult(number) is { Tokens.Count: > 0 } ? invocation.Get(number) : null;
            return Run(invocation, store => store.Checkpoint(wanted));
        });
    }

    private static Command BuildSegment(CommandLine line)
    {
        var number = new Argument<uint>("N") { Description = "Number of the segment, in decimal or as 0x and hexadecimal", CustomParser = static result => ParseNumber(result, result.Tokens[0].Value) };
        var command = new Command("segment", "A segment's header, batches and records") { number };
        return line.WithAction(command, invocation => Run(invocation, store => store.Segment(invocation.Get(number))));
    }

    private static Command BuildRecord(CommandLine line)
    {
        var place = new Argument<(uint Segment, uint Offset)>("SEGMENT:OFFSET")
        {
            HelpName = "SEGMENT:OFFSET",
            Description = "A byte of the record, of its payload or of its batch's header; each in decimal or as 0x and hexadecimal",
            CustomParser = static result =>
            {
                var words = result.Tokens[0].Value.Split(':');
                if (words.Length == 2)
                    return (ParseNumber(result, words[0]), ParseNumber(result, words[1]));
                result.AddError($"'{DiskAddress.Printable(result.Tokens[0].Value)}' is not SEGMENT:OFFSET, for example 1:4096");
                return default;
            },
        };
        var hex = new Option<bool>("--hex") { Description = "Dump the bytes as well" };
        var command = new Command("record", "One record and its payload, or a whole batch") { place, hex };
        return line.WithAction(command, invocation => Run(invocation, store => store.Record(invocation.Get(place).Segment, invocation.Get(place).Offset), invocation.Get(hex)));
    }

    private static Command BuildPage(CommandLine line)
    {
        var address = DiskArguments.DiskOrSnapshot(line, "NAME[@SNAP]", "Disk or snapshot");
        var lba = new Argument<long>("LBA") { Description = "Number of a logical block of the disk" };
        var command = new Command("page", "The map page that a disk sees at a block, and later records of it") { address, lba };
        return line.WithAction(command, invocation => Run(invocation, store =>
        {
            var (disk, snapshot) = invocation.Get(address);
            var row = Find(store, disk);
            var block = invocation.Get(lba);
            if (block < 0 || row.LogicalBlockBytes <= 0 || block >= StoreFormat.DiskBytesMax / row.LogicalBlockBytes)
                throw CommandException.Usage($"LBA {block} lies on no disk");
            return store.Page(disk, snapshot, block * row.LogicalBlockBytes);
        }));
    }

    private static Command BuildKeys(CommandLine line)
    {
        var name = DiskArguments.Disk(line, "An encrypted disk");
        var raw = new Option<bool>("--raw") { Description = SecretsHint };
        var command = new Command("keys", "A disk's key slots and key file") { name, raw };
        return line.WithAction(command, invocation => Run(invocation, store => Keys(store, Find(store, invocation.Get(name)), invocation.Get(raw))));
    }

    private static DiskRow Find(StoreInspector store, string name) =>
        store.Disks().FirstOrDefault(disk => disk.Name == name) ?? throw new CommandException(ExitCode.NotFound, $"the catalog has no disk '{name}'");

    private static List<InspectedPart> Keys(StoreInspector store, DiskRow disk, bool withSecrets) =>
        DiskInspection.Keys(store, disk, withSecrets) is { } file ? [DiskInspection.KeySlots(disk, withSecrets), file] : [DiskInspection.KeySlots(disk, withSecrets)];

    private static List<InspectedPart> Catalog(StoreInspector store) => [.. store.Catalog(), .. store.Disks().Select(DiskInspection.Attributes)];

    private static uint ParseNumber(ArgumentResult result, string text)
    {
        var isHex = text.StartsWith("0x", StringComparison.Ordinal);
        if (uint.TryParse(text.AsSpan(isHex ? 2 : 0), isHex ? NumberStyles.AllowHexSpecifier : NumberStyles.None, CultureInfo.InvariantCulture, out var number))
            return number;
        result.AddError($"'{DiskAddress.Printable(text)}' is not a number; write it in decimal, or as 0x and hexadecimal");
        return 0;
    }

    private static Task<ExitCode> Run(Invocation invocation, Func<StoreInspector, IReadOnlyList<InspectedPart>> read, bool withBytes = false)
    {
        var store = new StoreInspector(invocation.StoreDirectory);
        var isInUse = store.IsInUse;
        var parts = read(store);
        if (isInUse)
            invocation.Environment.Complain("the store is open: what is in its owner's memory is not shown, and files may change while they are read");
        if (invocation.IsJson)
            invocation.PrintJson(new InspectAnswer(isInUse, [.. parts.Select(part => InspectDocument.Of(part, withBytes))]), DocumentContext.Default.InspectAnswer);
        else
            InspectText.Print(invocation.Environment.Out, invocation.StoreDirectory, parts, withBytes);
        return Task.FromResult(parts.All(static part => part.IsSound) ? ExitCode.Done : ExitCode.Failed);
    }
}
