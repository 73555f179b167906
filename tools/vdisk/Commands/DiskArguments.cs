using System.CommandLine;
using System.CommandLine.Parsing;
using CowScsi.Vdisk.Text;

namespace CowScsi.Vdisk.Commands;

/// <summary>
/// Arguments that name disks and snapshots or give sizes, with their checks and completions. Each has a help name: the parser's help
/// would else list what could be completed, and open the store for it.
/// </summary>
internal static class DiskArguments
{
    public static Argument<string> NewDisk(string name = "NAME") => new(name)
    {
        Description = "Name of the new disk",
        CustomParser = static result => ParseAddress(result, wantsSnapshot: false)?.Disk,
    };

    public static Argument<string> Disk(CommandLine line, string description)
    {
        var argument = new Argument<string>("NAME")
        {
            HelpName = "NAME",
            Description = description,
            CustomParser = static result => ParseAddress(result, wantsSnapshot: false)?.Disk,
        };
        argument.CompletionSources.Add(context => NameCompletions.Disks(line, context));
        return argument;
    }

    /// <summary>NAME@SNAP, the snapshot being required.</summary>
    public static Argument<DiskAddress> Snapshot(CommandLine line, string description)
    {
        var argument = new Argument<DiskAddress>("NAME@SNAP")
        {
            HelpName = "NAME@SNAP",
            Description = description,
            CustomParser = static result => ParseAddress(result, wantsSnapshot: true) ?? default,
        };
        argument.CompletionSources.Add(context => NameCompletions.Snapshots(line, context));
        return argument;
    }

    /// <summary>NAME or NAME@SNAP.</summary>
    public static Argument<DiskAddress> DiskOrSnapshot(CommandLine line, string name, string description)
    {
        var argument = new Argument<DiskAddress>(name)
        {
            HelpName = name,
            Description = description,
            CustomParser = static result => ParseAddress(result, wantsSnapshot: null) ?? default,
        };
        argument.CompletionSources.Add(context => NameCompletions.DisksAndSnapshots(line, context));
        return argument;
    }

    /// <param name="bytesMin">Least size that is accepted.</param>
    /// <param name="bytesMax">Largest size that is accepted.</param>
    public static Option<long?> SizeOption(string name, string description, long bytesMin = 1, long bytesMax = long.MaxValue) => new(name)
    {
        Description = description,
        HelpName = "SIZE",
        // The bounds are looked at here and not in a validator: one that asks for a value that could not be read throws.
        CustomParser = result =>
        {
            if (ParseSize(result) is not { } bytes)
                return null;
            if (bytes >= bytesMin && bytes <= bytesMax)
                return bytes;
            result.AddError($"{name} is {ByteSize.Format(bytesMin)} to {ByteSize.Format(bytesMax)}");
            return null;
        },
    };

    public static Argument<long> SizeArgument(string description) => new("SIZE")
    {
        Description = description,
        CustomParser = static result => ParseSize(result) ?? 0,
    };

    private static long? ParseSize(ArgumentResult result)
    {
        if (ByteSize.TryParse(result.Tokens[0].Value, out var bytes, out var error))
            return bytes;
        result.AddError(error);
        return null;
    }

    private static DiskAddress? ParseAddress(ArgumentResult result, bool? wantsSnapshot)
    {
        var text = result.Tokens.Count == 0 ? "" : result.Tokens[0].Value;
        if (!DiskAddress.TryParse(text, out var address, out var error))
        {
            result.AddError(error);
            return null;
        }

        if (wantsSnapshot == true && address.Snapshot is null)
            result.AddError($"'{text}' names a disk; a snapshot is written NAME@SNAP");
        else if (wantsSnapshot == false && address.Snapshot is not null)
            result.AddError($"'{text}' names a snapshot; a disk's name is wanted here");
        else
            return address;
        return null;
    }
}
