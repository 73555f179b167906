using System.Text;
using CowScsi.Vdisk.Targets;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// The settings that hold targets, as lines of "key value": a configuration that is valid and is written again to what was read, or a
/// refusal in one line that quotes no secret.
/// </summary>
internal sealed class TargetSettingsTarget : FuzzTarget
{
    private const string Secret = "correct horse staple";

    private static readonly Guid Store = new("0f0e0d0c-0b0a-0908-0706-050403020100");

    public override string Name => "target settings";

    public override int InputBytesMax => 8192;

    /// <summary>System.Text.Json rents and grows buffers of its own; immutable maps are made anew for each configuration.</summary>
    public override long AllocatedBytesMax(int inputBytes) => (512 << 10) + (inputBytes * 512L);

    public override IEnumerable<byte[]> Seeds()
    {
        const string open = """{"initiators":[],"networks":[],"users":[],"mutual":null}""";
        const string guarded = """{"initiators":["iqn.2026-01.test:*"],"networks":["10.0.0.0/8","fd00::/8"],"users":[{"name":"alice","secret":"%"}],"mutual":{"name":"t","secret":"another one of it"}}""";
        var config = """target/config {"version":1,"next_target":3,"portals":["127.0.0.1:3260","[::1]:3260"],"discovery":%}""".Replace("%", open, StringComparison.Ordinal);
        var first = """target/1 {"version":1,"name":"iqn.2026-11.io.cowscsi:00010203","alias":"","all_disks":true,"next_lun":2,"access":%,"redirect":null}"""
            .Replace("%", open, StringComparison.Ordinal);
        var second = """target/2 {"version":1,"name":"eui.0123456789abcdef","alias":"a","all_disks":false,"next_lun":8,"access":%,"redirect":{"to":"storage.example:3260","permanent":true}}"""
            .Replace("%", guarded, StringComparison.Ordinal).Replace("%", Secret, StringComparison.Ordinal);
        const string lun = """target/2/lun/7 {"version":1,"disk":"6f9619ff-8b86-d011-b42d-00c04fc964ff","mapped":true,"read_only":true,"removable":false}""";
        yield return Encoding.UTF8.GetBytes(config);
        yield return Encoding.UTF8.GetBytes(string.Join('\n', config, first, second, lun));
        yield return Encoding.UTF8.GetBytes(string.Join('\n', first, lun));
        yield return Encoding.UTF8.GetBytes(string.Join('\n', config, second, lun, lun.Replace("/7 ", "/16383 ", StringComparison.Ordinal).Replace("6f96", "6f97", StringComparison.Ordinal)));
    }

    public override string Execute(byte[] input)
    {
        var settings = new SortedDictionary<string, ReadOnlyMemory<byte>>(StringComparer.Ordinal);
        foreach (var line in Encoding.UTF8.GetString(input).Split('\n'))
        {
            var blank = line.IndexOf(' ');
            // What a store gives has keys that begin so; that is the caller's to know.
            if (blank > 0 && line.StartsWith(TargetSettings.Prefix, StringComparison.Ordinal))
                settings[line[..blank]] = Encoding.UTF8.GetBytes(line[(blank + 1)..]);
        }

        if (!TargetSettings.TryParse([.. settings], Store, out var read, out var error))
        {
            Require(error.Length > 0 && !error.AsSpan().ContainsAny('\n', '\r'), $"a refusal that is no line: '{error}'");
            Require(!error.Contains(Secret, StringComparison.Ordinal), "a refusal quotes a secret");
            return "refused " + new string([.. error.Where(char.IsAsciiLetterLower).Take(24)]);
        }

        Require(read.Explain() is null, "what is not valid was taken");
        foreach (var target in read.Targets)
            _ = (target.Record.Access.ToIscsi(), target.Record.Redirect?.ToIscsi());
        var written = TargetSettings.ToSettings(read);
        var again = written.Select(static entry => new KeyValuePair<string, ReadOnlyMemory<byte>>(entry.Key, entry.Value)).ToList();
        if (!TargetSettings.TryParse(again, Store, out var same, out error))
            throw new FuzzDefect($"it is not read as it is written: {error}");
        Require(written.SequenceEqual(TargetSettings.ToSettings(same), SameEntry.Instance), "it is not written as it was read");
        return $"accepted {Math.Min(read.Targets.Count, 2)}";
    }

    private sealed class SameEntry : IEqualityComparer<KeyValuePair<string, byte[]>>
    {
        public static readonly SameEntry Instance = new();

        public bool Equals(KeyValuePair<string, byte[]> x, KeyValuePair<string, byte[]> y) => x.Key == y.Key && x.Value.AsSpan().SequenceEqual(y.Value);

        public int GetHashCode(KeyValuePair<string, byte[]> obj) => obj.Key.GetHashCode(StringComparison.Ordinal);
    }
}
