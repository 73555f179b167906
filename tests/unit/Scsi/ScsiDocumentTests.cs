using System.Runtime.Versioning;
using CowScsi.Scsi;
using CowScsi.Tests.Unit.Repository;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>docs/scsi.md says what the command table and a logical unit say. COWSCSI_WRITE_DOCS=1 writes it anew.</summary>
[SupportedOSPlatform("linux")]
public sealed class ScsiDocumentTests
{
    private const string Document = "docs/scsi.md";

    [Fact]
    public void Document_IsWhatTheTablesYield()
    {
        using var document = new ScsiDocument();
        var wanted = document.ToString();
        if (Environment.GetEnvironmentVariable("COWSCSI_WRITE_DOCS") == "1")
            File.WriteAllText(Path.Combine(SourceTree.Root, Document), wanted);
        var found = File.Exists(Path.Combine(SourceTree.Root, Document)) ? SourceTree.Read(Document) : "";
        Assert.True(
            found == wanted,
            $"{Document} is not what the tables yield; COWSCSI_WRITE_DOCS=1 dotnet test tests/unit --filter ScsiDocument writes it anew. First difference:\n{FirstDifference(found, wanted)}");
    }

    /// <summary>What the table leaves to reservations is what SPC-5 says of each kind of command.</summary>
    [Fact]
    public void Commands_ThatChangeTheMedium_ConflictUnderEveryReservation()
    {
        foreach (var entry in CommandTable.AllRows)
        {
            if ((entry.Traits & CommandTraits.Writes) != 0)
                Assert.True((entry.Traits & (CommandTraits.IgnoresReservation | CommandTraits.IgnoresPortState)) == 0, entry.Name);
            if ((entry.Traits & CommandTraits.AllowedUnderExclusiveAccess) != 0)
                Assert.True((entry.Traits & CommandTraits.AllowedUnderWriteExclusive) != 0, entry.Name);
            if ((entry.Traits & CommandTraits.AllowedInUnavailable) != 0)
                Assert.True((entry.Traits & CommandTraits.AllowedInStandby) != 0, entry.Name);
        }
    }

    private static string FirstDifference(string found, string wanted)
    {
        var old = found.Split('\n');
        var now = wanted.Split('\n');
        for (var i = 0; i < now.Length; i++)
        {
            if (i >= old.Length || old[i] != now[i])
                return $"line {i + 1}\n- {(i < old.Length ? old[i] : "(end)")}\n+ {now[i]}";
        }

        return "it is longer";
    }
}
