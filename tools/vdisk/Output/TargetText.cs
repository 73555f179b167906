using CowScsi.Vdisk.Commands;
using CowScsi.Vdisk.Documents;

namespace CowScsi.Vdisk.Output;

/// <summary>Targets and their rules in words.</summary>
internal static class TargetText
{
    private const int LabelWidth = 13;

    public static void PrintTarget(Invocation invocation, TargetDocument target)
    {
        Line(invocation, "target", target.Name);
        if (target.Alias is not null)
            Line(invocation, "alias", target.Alias);
        Line(invocation, "disks", target.AllDisks ? "all, and those that are made later" : "those that are mapped");
        if (target.PortGroup != Scsi.ScsiTarget.DefaultPortGroupId)
            Line(invocation, "port group", $"{target.PortGroup}");
        foreach (var lun in target.Luns)
        {
            var look = (lun.Mapped ? "" : ", not mapped") + (lun.ReadOnly ? ", read-only" : "") + (lun.Removable ? ", removable" : "");
            Line(invocation, $"LUN {lun.Lun}", $"{lun.Disk}{look}" + (lun.Url is null ? "" : $"  {lun.Url}"));
        }

        PrintRules(invocation, target.Rules);
        if (target.Redirect is not null)
            Line(invocation, "redirected to", Redirect(target.Redirect));
        if (target.Sessions > 0)
            Line(invocation, "sessions", $"{target.Sessions}");
    }

    public static void PrintRules(Invocation invocation, RulesDocument rules)
    {
        Line(invocation, "allowed", AdmitsEveryone(rules) ? "everyone" : "who meets all of this:");
        if (rules.Initiators.Count > 0)
            Line(invocation, "initiators", string.Join(", ", rules.Initiators));
        if (rules.Networks.Count > 0)
            Line(invocation, "networks", string.Join(", ", rules.Networks));
        if (rules.Users.Count > 0)
            Line(invocation, "users", string.Join(", ", rules.Users));
        if (rules.Mutual is not null)
            Line(invocation, "proves itself", $"as {rules.Mutual}");
    }

    public static bool AdmitsEveryone(RulesDocument rules) => rules.Initiators.Count + rules.Networks.Count + rules.Users.Count == 0;

    /// <summary>Who may log in, in one line.</summary>
    public static string Rules(RulesDocument rules)
    {
        List<string> parts = [];
        if (rules.Users.Count > 0)
            parts.Add($"users {string.Join(", ", rules.Users)}");
        if (rules.Mutual is not null)
            parts.Add($"proves itself as {rules.Mutual}");
        if (rules.Initiators.Count > 0)
            parts.Add($"initiators {string.Join(", ", rules.Initiators)}");
        if (rules.Networks.Count > 0)
            parts.Add($"networks {string.Join(", ", rules.Networks)}");
        return parts.Count == 0 ? "everyone may log in" : string.Join("; ", parts);
    }

    /// <summary>Who may log in, in a few words for a table.</summary>
    public static string Allowed(TargetDocument target)
    {
        if (target.Redirect is not null)
            return $"sent to {target.Redirect.To}";
        var rules = target.Rules;
        List<string> parts = [];
        if (rules.Users.Count > 0)
            parts.Add($"users: {rules.Users.Count}");
        if (rules.Initiators.Count > 0)
            parts.Add($"initiators: {rules.Initiators.Count}");
        if (rules.Networks.Count > 0)
            parts.Add($"networks: {rules.Networks.Count}");
        return parts.Count == 0 ? "everyone" : string.Join(", ", parts);
    }

    public static string Redirect(RedirectDocument redirect) => redirect.To + (redirect.Permanent ? ", permanently" : "");

    private static void Line(Invocation invocation, string label, string text) => invocation.Print(label.PadRight(LabelWidth) + " " + text);
}
