using System.Buffers.Binary;
using System.Globalization;
using System.Text;
using CowScsi.Scsi;
using Xunit;

namespace CowScsi.Tests.Unit.Scsi;

/// <summary>
/// docs/scsi.md, put together from the command table and from what a logical unit answers when it is asked for its pages: nothing in it is
/// written by hand but the names that the standards give to pages, and what a page leaves out.
/// </summary>
internal sealed class ScsiDocument : IDisposable
{
    private const int ChangeableValues = 1;

    private static readonly Dictionary<int, (string Name, string Note)> VpdNames = new()
    {
        [0x00] = ("Supported VPD Pages", ""),
        [0x80] = ("Unit Serial Number", "The disk's UUID."),
        [0x83] = ("Device Identification", "NAA, T10 vendor, EUI-64 and SCSI name of the logical unit; relative port, port group and name of the target port; name of the target device. NAA and EUI-64 are of the locally assigned kinds: others need an IEEE company identifier, which this product has none of."),
        [0x85] = ("Management Network Addresses", "Empty: nothing is managed over the network."),
        [0x86] = ("Extended INQUIRY Data", ""),
        [0x87] = ("Mode Page Policy", "All pages are shared by all nexuses."),
        [0x88] = ("SCSI Ports", "Every target port that the logical unit is reached by; no port is an initiator."),
        [0x8F] = ("Third-party Copy", ""),
        [0xB0] = ("Block Limits", ""),
        [0xB1] = ("Block Device Characteristics", ""),
        [0xB2] = ("Logical Block Provisioning", ""),
        [0xB9] = ("Block Device Characteristics Extension", ""),
    };

    private static readonly Dictionary<int, string> ModeNames = new()
    {
        [0x0100] = "Read-Write Error Recovery",
        [0x0200] = "Disconnect-Reconnect",
        [0x0800] = "Caching",
        [0x0A00] = "Control",
        [0x0A01] = "Control Extension",
        [0x1A00] = "Power Condition",
        [0x1C00] = "Informational Exceptions Control",
        [0x1C02] = "Logical Block Provisioning",
    };

    private static readonly Dictionary<int, string> LogNames = new()
    {
        [0x0000] = "Supported Log Pages",
        [0x00FF] = "Supported Log Pages and Subpages",
        [0x0C00] = "Logical Block Provisioning",
        [0x0D00] = "Temperature",
        [0x0D00] = "Temperature",
        [0x1000] = "Self-test Results",
        [0x1900] = "General Statistics and Performance",
    };

    private readonly StringBuilder text = new();
    private readonly Initiator initiator = new(options: new LogicalUnitOptions { Memory = new RamMemory() });

    public void Dispose() => initiator.Dispose();

    public override string ToString()
    {
        text.Clear();
        Line("# SCSI: what is supported");
        Line();
        Line("Made from the command table and from the answers of a logical unit. Do not edit it: after a change, run the tests in");
        Line("`tests/unit/Scsi/ScsiDocumentTests.cs` with `COWSCSI_WRITE_DOCS=1`. Without that they compare.");
        Line();
        Line("- [Commands](#commands) · [Left out of every command](#left-out-of-every-command) · [VPD pages](#vpd-pages) · [Mode pages](#mode-pages) · [Log pages](#log-pages)");
        Line("- [Reservations and port states](#reservations-and-port-states)");
        Line();
        WriteCommands();
        WriteAccess();
        WriteVpdPages();
        WriteModePages();
        WriteLogPages();
        return text.ToString().TrimEnd() + "\n";
    }

    private void WriteCommands()
    {
        Line("## Commands");
        Line();
        Line("*CDB* is the usage data that REPORT SUPPORTED OPERATION CODES gives: a bit that is zero there, beyond operation code and service action,");
        Line("must be zero in a command, else it ends with INVALID FIELD IN CDB and a pointer at the bit. *Timeout* is the recommended one in seconds.");
        Line();
        Line("| command | CDB | timeout | where | left out, or otherwise than expected |");
        Line("|---|---|---:|---|---|");
        foreach (var entry in CommandTable.AllRows)
            Line($"| {entry.Name} | `{Bytes(entry.Usage)}` | {entry.RecommendedTimeoutSeconds} | {Where(entry.Condition)} | {entry.Note} |");
        Line();
        Line("## Left out of every command");
        Line();
        Line("| field | why |");
        Line("|---|---|");
        Line("| NACA | there is no ACA condition; one that asks for it is refused, and so is the ACA task attribute |");
        Line("| RDPROTECT, WRPROTECT, VRPROTECT, ORPROTECT | there is no protection information: stored bytes have checksums of the store's own |");
        Line("| GROUP NUMBER | there is nothing that groups would be counted or treated for; PRE-FETCH takes any and ignores it |");
        Line("| reserved bits | checked in every CDB, as above |");
        Line();
    }

    /// <summary>The columns of SPC-5, 5.14.1, SBC-4, 4.17, and SPC-5, 5.18.2.4.</summary>
    private void WriteAccess()
    {
        Line("## Reservations and port states");
        Line();
        Line("What becomes of a command of a nexus that a reservation excludes, and at a target port that is not active. *Conflict* is RESERVATION");
        Line("CONFLICT, *not ready* is NOT READY with 04h/0Bh in standby and 04h/0Ch in unavailable.");
        Line();
        Line("| command | write exclusive types | exclusive access types | RESERVE of another | standby | unavailable |");
        Line("|---|---|---|---|---|---|");
        foreach (var entry in CommandTable.AllRows)
        {
            var isOwn = entry.Opcode is 0x5E or 0x5F;
            string Under(CommandTraits trait) => entry.IgnoresReservation is not null && (entry.Traits & trait) == 0
                ? "by its CDB"
                : isOwn ? trait == CommandTraits.AllowedUnderReserve ? "conflict" : "by its rules" : (entry.Traits & trait) != 0 ? "allowed" : "conflict";
            string In(CommandTraits trait) => (entry.Traits & trait) != 0 ? "allowed" : "not ready";
            Line($"| {entry.Name} | {Under(CommandTraits.AllowedUnderWriteExclusive)} | {Under(CommandTraits.AllowedUnderExclusiveAccess)} | {Under(CommandTraits.AllowedUnderReserve)} | {In(CommandTraits.AllowedInStandby)} | {In(CommandTraits.AllowedInUnavailable)} |");
        }

        Line();
        Line("By its CDB: START STOP UNIT that starts, and PREVENT ALLOW that allows, are carried out. By its rules: what registration and key let");
        Line("through (SPC-5, 5.14). REPLACE LOST RESERVATION is left out: what is kept of reservations is lost only by damage, and then the logical");
        Line("unit does not start.");
        Line();
    }

    private void WriteVpdPages()
    {
        Line("## VPD pages");
        Line();
        Line("| page | name | bytes | |");
        Line("|---|---|---:|---|");
        initiator.AssertGood("12 01 00 00 FF 00");
        foreach (var code in initiator.Data[4..].ToArray())
        {
            initiator.AssertGood($"12 01 {code:X2} 40 00 00");
            Assert.True(VpdNames.TryGetValue(code, out var page), $"VPD page {code:X2}h has no name in {nameof(ScsiDocument)}");
            Line($"| {code:X2}h | {page.Name} | {initiator.Data.Length} | {page.Note} |");
        }

        Line();
        Line("Pages of a thin provisioned disk of 1 MiB in 512-byte blocks, with one target port. Without thin provisioning there is no page B2h.");
        Line();
    }

    private void WriteModePages()
    {
        Line("## Mode pages");
        Line();
        Line("*Changeable* are the bytes of the page as MODE SENSE gives them for the changeable values, those that are not zero.");
        Line();
        Line("| page | name | bytes | changeable | saved |");
        Line("|---|---|---:|---|---|");
        initiator.AssertGood("5A 08 3F FF 00 00 00 40 00 00");
        var current = initiator.Data[8..].ToArray();
        initiator.AssertGood($"5A 08 {(ChangeableValues << 6) | 0x3F:X2} FF 00 00 00 40 00 00");
        var changeable = initiator.Data[8..].ToArray();
        for (var at = 0; at < current.Length;)
        {
            var hasSubpage = (current[at] & 0x40) != 0;
            var header = hasSubpage ? 4 : 2;
            var length = header + (hasSubpage ? BinaryPrimitives.ReadUInt16BigEndian(current.AsSpan(at + 2)) : current[at + 1]);
            var code = current[at] & 0x3F;
            var subcode = hasSubpage ? current[at + 1] : 0;
            Assert.True(ModeNames.TryGetValue((code << 8) | subcode, out var name), $"mode page {code:X2}h, {subcode:X2}h has no name in {nameof(ScsiDocument)}");
            var bits = new List<string>();
            for (var i = header; i < length; i++)
            {
                if (changeable[at + i] != 0)
                    bits.Add($"byte {i}: {changeable[at + i]:X2}h");
            }

            Line($"| {code:X2}h{(hasSubpage ? $", {subcode:X2}h" : "")} | {name} | {length} | {string.Join(", ", bits)} | {((current[at] & 0x80) != 0 ? "yes" : "no")} |");
            at += length;
        }

        Line();
    }

    /// <summary>Where there is a LOG SENSE.</summary>
    private void WriteLogPages()
    {
        Line("## Log pages");
        Line();
        if (!CommandTable.AllRows.ToArray().Any(entry => entry.Opcode == 0x4D))
        {
            Line("None: there is no LOG SENSE.");
            return;
        }

        Line("| page | name | bytes |");
        Line("|---|---|---:|");
        initiator.AssertGood("4D 00 40 FF 00 00 00 40 00 00");
        var pairs = initiator.Data[4..].ToArray();
        for (var i = 0; i < pairs.Length; i += 2)
        {
            initiator.AssertGood($"4D 00 {0x40 | pairs[i]:X2} {pairs[i + 1]:X2} 00 00 00 40 00 00");
            Assert.True(LogNames.TryGetValue((pairs[i] << 8) | pairs[i + 1], out var name), $"log page {pairs[i]:X2}h, {pairs[i + 1]:X2}h has no name in {nameof(ScsiDocument)}");
            Line($"| {pairs[i]:X2}h{(pairs[i + 1] != 0 ? $", {pairs[i + 1]:X2}h" : "")} | {name} | {initiator.Data.Length} |");
        }

        Line();
    }

    private static string Where(CommandCondition condition)
    {
        if (condition == CommandCondition.Always)
            return "everywhere";
        var parts = new List<string>();
        foreach (var one in Enum.GetValues<CommandCondition>())
        {
            if (one != CommandCondition.Always && (condition & one) != 0)
            {
                parts.Add(one switch
                {
                    CommandCondition.Thin => "thin provisioned",
                    CommandCondition.NotThin => "not thin provisioned",
                    CommandCondition.Removable => "removable",
                    CommandCondition.NotRemovable => "not removable",
                    CommandCondition.Atomic => "devices with atomic writes",
                    CommandCondition.Remembers => "with a memory",
                    CommandCondition.ErasesKey => "while the key can be replaced",
                    _ => one.ToString().ToLower(CultureInfo.InvariantCulture),
                });
            }
        }

        return string.Join(", ", parts);
    }

    private static string Bytes(ReadOnlySpan<byte> bytes)
    {
        var line = new StringBuilder();
        foreach (var one in bytes)
            line.Append(line.Length > 0 ? " " : "").Append(one.ToString("X2", CultureInfo.InvariantCulture));
        return line.ToString();
    }

    private void Line(string line = "") => text.Append(line.Replace("|  |", "| |", StringComparison.Ordinal)).Append('\n');
}
