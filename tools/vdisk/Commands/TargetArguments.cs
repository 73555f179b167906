using System.CommandLine;
using System.CommandLine.Completions;
using System.CommandLine.Parsing;
using CowScsi.Engine;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Commands;

/// <summary>Arguments that name targets, portals, users and who may log in, with their completions.</summary>
internal static class TargetArguments
{
    /// <summary>A target that exists.</summary>
    public static Argument<string> Target(CommandLine line)
    {
        var argument = new Argument<string>("TARGET")
        {
            HelpName = "TARGET",
            Description = "iSCSI name of the target, or what stands behind its colon",
        };
        argument.CompletionSources.Add(context => IsGiven(context, argument)
            ? []
            : Read(line, context).SelectMany(static all => all.Targets).Select(static target => new CompletionItem(target.Name)));
        return argument;
    }

    /// <summary>A target that exists, or discovery sessions.</summary>
    public static Argument<string> TargetOrDiscovery(CommandLine line)
    {
        var argument = Target(line);
        argument.Description = $"iSCSI name of the target, or what stands behind its colon; '{TargetChange.Discovery}' for discovery sessions";
        argument.CompletionSources.Add(context => IsGiven(context, argument) ? [] : [new CompletionItem(TargetChange.Discovery)]);
        return argument;
    }

    public static Argument<string> User(CommandLine line, Argument<string> target)
    {
        var argument = new Argument<string>("USER") { HelpName = "USER", Description = "Name of the user (CHAP_N)" };
        argument.CompletionSources.Add(context => UsersOf(line, context, target));
        return argument;
    }

    public static Argument<string> Portal(CommandLine line, string description)
    {
        var argument = new Argument<string>("HOST:PORT")
        {
            HelpName = "HOST:PORT",
            Description = description,
            CustomParser = static result =>
            {
                var text = result.Tokens.Count == 0 ? "" : result.Tokens[0].Value;
                if (Serving.Portal.TryParse(text, out var portal, out var error))
                    return portal.ToString();
                result.AddError(error);
                return null;
            },
        };
        argument.CompletionSources.Add(context => Read(line, context).SelectMany(static all => all.Portals).Select(static portal => new CompletionItem(portal.Portal)));
        return argument;
    }

    public static Option<string[]> Initiators() => new("--initiator")
    {
        Description = "An initiator's iSCSI name, or its beginning with * behind it; may be given several times",
        HelpName = "NAME",
        CustomParser = static result => Each(result, static name => TargetName.ExplainInitiator(TargetName.Canonical(name))),
    };

    public static Option<string[]> Networks() => new("--network")
    {
        Description = "A network that initiators come from, for example 192.168.7.0/24; may be given several times",
        HelpName = "NETWORK",
        CustomParser = static result => Each(result, static text => TargetName.TryParseNetwork(text, out _, out var error) ? null : error),
    };

    /// <summary>The parser asks for completions of all arguments of a verb, also of those in front of the word that is typed.</summary>
    private static bool IsGiven(CompletionContext context, Argument<string> argument) =>
        context.ParseResult.GetResult(argument) is { Tokens: [var token, ..] } && token.Value != context.WordToComplete;

    private static string[] Each(ArgumentResult result, Func<string, string?> explain)
    {
        foreach (var token in result.Tokens)
        {
            if (explain(token.Value) is { } problem)
                result.AddError(problem);
        }

        return [.. result.Tokens.Select(static token => token.Value)];
    }

    private static IEnumerable<CompletionItem> UsersOf(CommandLine line, CompletionContext context, Argument<string> target)
    {
        var name = context.ParseResult.GetResult(target) is { Tokens: [var token, ..] } ? token.Value : "";
        foreach (var all in Read(line, context))
        {
            var rules = name == TargetChange.Discovery ? all.Discovery : TargetCommand.TryFind(all, name)?.Rules;
            foreach (var user in rules?.Users ?? [])
                yield return new CompletionItem(user);
        }
    }

    /// <summary>What is there, once; nothing where the store cannot be asked, since the shell shows no errors.</summary>
    private static IReadOnlyList<TargetsDocument> Read(CommandLine line, CompletionContext context)
    {
        try
        {
            return [Task.Run(() => ReadAsync(new Invocation(line, context.ParseResult))).GetAwaiter().GetResult()];
        }
        catch (Exception error) when (error is StoreException or CommandException or IOException or UnauthorizedAccessException)
        {
            return [];
        }
    }

    private static async Task<TargetsDocument> ReadAsync(Invocation invocation)
    {
        await using var session = await invocation.OpenAsync();
        return await session.GetTargetsAsync(invocation.Stop);
    }
}
