using System.CommandLine;
using System.Text;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Output;
using CowScsi.Vdisk.Passphrases;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk target user add|remove|list`: CHAP users. A secret never comes from the command line, and is never printed.</summary>
internal static class TargetUserCommand
{
    private static readonly UTF8Encoding StrictUtf8 = new(encoderShouldEmitUTF8Identifier: false, throwOnInvalidBytes: true);

    public static Command Build(CommandLine line) =>
        new("user", "Manage who initiators log in as (CHAP)") { BuildAdd(line), BuildRemove(line), BuildList(line) };

    private static Command BuildAdd(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var user = TargetArguments.User(line, target);
        var mutual = new Option<bool>("--mutual") { Description = "What the target proves to initiators, instead of what they prove" };
        var force = new Option<bool>("--force") { Description = $"Take a secret of fewer than {ChapEntry.SecretBytesMin} bytes" };
        var secrets = new PassphraseOptions("secret", fileVariable: null);
        var command = new Command("add", "Let initiators log in as a user, or give a user another secret; without a user nobody is asked for a secret") { target, user, mutual, force };
        secrets.AddTo(command);
        return line.WithAction(command, async invocation =>
        {
            var (where, name) = (invocation.Get(target), invocation.Get(user));
            using var secret = await secrets.GetAsync(invocation.Arguments, invocation.Environment, name, $"user '{Text.DiskAddress.Printable(name)}' needs a secret", isNew: true);
            var change = new PutUser(where, name, ToText(secret), invocation.Get(mutual), invocation.Get(force));
            return await TargetCommand.ChangeAsync(
                invocation, change, where, document => $"{document.Name}: {TargetText.Rules(document.Rules)}");
        });
    }

    private static Command BuildRemove(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var user = TargetArguments.User(line, target);
        var mutual = new Option<bool>("--mutual") { Description = "What the target proves to initiators, instead of what they prove" };
        var force = new Option<bool>("--force") { Description = "Also where it is the last, after which nobody is asked for a secret" };
        var command = new Command("remove", "Remove a user: later logins are refused, and its sessions end") { target, user, mutual, force };
        return line.WithAction(command, invocation => TargetCommand.ChangeAsync(
            invocation,
            new RemoveUser(invocation.Get(target), invocation.Get(user), invocation.Get(mutual), invocation.Get(force)),
            invocation.Get(target),
            static document => $"{document.Name}: {TargetText.Rules(document.Rules)}"));
    }

    private static Command BuildList(CommandLine line)
    {
        var target = TargetArguments.TargetOrDiscovery(line);
        var command = new Command("list", "List users, without their secrets") { target };
        return line.WithAction(command, async invocation =>
        {
            var where = invocation.Get(target);
            await using var session = await invocation.OpenAsync();
            var all = await session.GetTargetsAsync(invocation.Stop);
            var isDiscovery = where == TargetChange.Discovery;
            var rules = isDiscovery ? all.Discovery : TargetCommand.Find(all, where).Rules;
            if (invocation.IsJson)
            {
                var name = isDiscovery ? where : TargetCommand.Find(all, where).Name;
                invocation.PrintJson(new UsersAnswer(name, rules.Users, rules.Mutual), DocumentContext.Default.UsersAnswer);
            }
            else
            {
                Tables.PrintUsers(invocation.Environment, rules);
            }

            return ExitCode.Done;
        });
    }

    private static string ToText(Passphrase secret)
    {
        try
        {
            return StrictUtf8.GetString(secret.Bytes);
        }
        catch (DecoderFallbackException error)
        {
            throw new CommandException(ExitCode.Key, "the secret is not text in UTF-8", error);
        }
    }
}
