using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Text;
using Spectre.Console;
using Cell = Spectre.Console.Text;

namespace CowScsi.Vdisk.Output;

/// <summary>Tables and trees for people.</summary>
internal static class Tables
{
    /// <summary>Wide enough that nothing is ever cut or wrapped where a script reads the table.</summary>
    private const int UnboundedWidth = 4096;

    public static void PrintDisks(CliEnvironment environment, IReadOnlyList<DiskDocument> disks)
    {
        var isServed = disks.Any(disk => disk.Url is not null);
        var table = New("NAME", "SIZE>", "WRITTEN>", "STORED>", "COMPRESSION", "ENCRYPTION", "SNAPSHOTS>", "ORIGIN");
        if (isServed)
            table.AddColumn(new TableColumn("SERVED AS") { NoWrap = true });
        foreach (var disk in disks)
        {
            List<string> cells =
            [
                disk.Name, ByteSize.Format(disk.SizeBytes), ByteSize.Format(disk.WrittenBytes), ByteSize.Format(disk.StoredBytes),
                disk.Compression, disk.Encryption, $"{disk.Snapshots.Count}", disk.Origin ?? disk.Base?.Path ?? "-",
            ];
            if (isServed)
                cells.Add(disk.Url ?? "-");
            table.AddRow(cells.Select(cell => new Cell(cell)));
        }

        Write(environment, table, disks.Count == 0 ? "no disks" : null);
    }

    public static void PrintSnapshots(CliEnvironment environment, IReadOnlyList<SnapshotDocument> snapshots)
    {
        var table = New("NAME", "CREATED", "SIZE>", "STORED>", "CLONES");
        foreach (var snapshot in snapshots)
        {
            string[] cells =
            [
                $"{snapshot.Disk}@{snapshot.Name}", DiskText.Time(snapshot.Created), ByteSize.Format(snapshot.SizeBytes),
                ByteSize.Format(snapshot.StoredBytes), snapshot.Clones.Count == 0 ? "-" : string.Join(", ", snapshot.Clones),
            ];
            table.AddRow(cells.Select(cell => new Cell(cell)));
        }

        Write(environment, table, snapshots.Count == 0 ? "no snapshots" : null);
    }

    public static void PrintTree(CliEnvironment environment, IReadOnlyList<TreeDiskDocument> disks)
    {
        if (disks.Count == 0)
        {
            environment.Out.WriteLine("no disks");
            return;
        }

        var console = Console(environment.Out);
        foreach (var disk in disks)
        {
            var tree = new Tree(new Cell(Label(disk)));
            Hang(tree, disk);
            console.Write(tree);
        }
    }

    public static void PrintTargets(CliEnvironment environment, TargetsDocument all)
    {
        var table = all.Served ? New("NAME", "LUNS>", "ALLOWED", "ALIAS", "SESSIONS>") : New("NAME", "LUNS>", "ALLOWED", "ALIAS");
        foreach (var target in all.Targets)
        {
            var mapped = target.Luns.Count(lun => lun.Mapped);
            List<string> cells = [target.Name, target.AllDisks ? $"{mapped} (all)" : $"{mapped}", TargetText.Allowed(target), target.Alias ?? "-"];
            if (all.Served)
                cells.Add($"{target.Sessions}");
            table.AddRow(cells.Select(cell => new Cell(cell)));
        }

        Write(environment, table, all.Targets.Count == 0 ? "no targets" : null);
    }

    public static void PrintPortals(CliEnvironment environment, TargetsDocument all)
    {
        var table = New("PORTAL", "KEPT", "LISTENING");
        foreach (var portal in all.Portals)
            table.AddRow(new Cell(portal.Portal), new Cell(portal.Kept ? "yes" : "no"), new Cell(portal.Address ?? "-"));
        Write(environment, table, null);
    }

    public static void PrintUsers(CliEnvironment environment, RulesDocument rules)
    {
        var table = New("USER", "PROVED BY");
        foreach (var user in rules.Users)
            table.AddRow(new Cell(user), new Cell("initiators"));
        if (rules.Mutual is not null)
            table.AddRow(new Cell(rules.Mutual), new Cell("the target"));
        Write(environment, table, rules.Users.Count == 0 ? "no users" : null);
    }

    public static void PrintSessions(CliEnvironment environment, IReadOnlyList<SessionDocument> sessions)
    {
        var table = New("INITIATOR", "FROM", "USER", "SINCE", "TARGET");
        foreach (var session in sessions)
        {
            string[] cells =
            [
                session.Initiator, string.Join(", ", session.Addresses), session.User ?? "-", DiskText.Time(session.Since), session.Target ?? "(discovery)",
            ];
            table.AddRow(cells.Select(cell => new Cell(cell)));
        }

        Write(environment, table, sessions.Count == 0 ? "no sessions" : null);
    }

    private static void Hang(IHasTreeNodes parent, TreeDiskDocument disk)
    {
        foreach (var snapshot in disk.Snapshots)
        {
            var node = parent.AddNode(new Cell($"@{snapshot.Name}  {ByteSize.Format(snapshot.StoredBytes)} stored"));
            foreach (var clone in snapshot.Clones)
                Hang(node.AddNode(new Cell(Label(clone))), clone);
        }
    }

    private static string Label(TreeDiskDocument disk) =>
        $"{disk.Name}  {ByteSize.Format(disk.SizeBytes)}, {ByteSize.Format(disk.StoredBytes)} stored";

    /// <summary>A table without frames; a title that ends in '>' is a column of figures, aligned to the right.</summary>
    private static Table New(params ReadOnlySpan<string> titles)
    {
        var table = new Table { Border = TableBorder.None, Expand = false };
        foreach (var title in titles)
        {
            var isFigure = title.EndsWith('>');
            table.AddColumn(new TableColumn(new Cell(title.TrimEnd('>')))
            {
                Alignment = isFigure ? Justify.Right : Justify.Left,
                NoWrap = true,
                Padding = new Padding(0, 0, 2, 0),
            });
        }

        return table;
    }

    private static void Write(CliEnvironment environment, Table table, string? instead)
    {
        if (instead is not null)
        {
            environment.Out.WriteLine(instead);
            return;
        }

        // The last column would be padded to its width with blanks.
        var text = new StringWriter();
        Console(text).Write(table);
        foreach (var line in text.ToString().TrimEnd('\n').Split('\n'))
            environment.Out.WriteLine(line.TrimEnd());
    }

    private static IAnsiConsole Console(TextWriter output)
    {
        var console = AnsiConsole.Create(new AnsiConsoleSettings
        {
            Out = new AnsiConsoleOutput(output),
            Ansi = AnsiSupport.No,
            ColorSystem = ColorSystemSupport.NoColors,
            Interactive = InteractionSupport.No,
        });
        console.Profile.Width = UnboundedWidth;
        console.Profile.Capabilities.Unicode = true;
        return console;
    }
}
