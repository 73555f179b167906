using Xunit;
using Xunit.Abstractions;

namespace CowScsi.Tests.Guest.KernelInitiator;

/// <summary>
/// The commands as sg3-utils send and read them: a client that shares nothing with this project but the standards. One program a group of
/// commands; what it prints, and how it ends, must be what the disk is.
/// </summary>
[Collection(InitiatorGuests.Name)]
public sealed class SgUtilsTests(InitiatorGuest host, ITestOutputHelper output)
{
    /// <summary>How sg3-utils end where the target answered with a sense key.</summary>
    private const int EndedMiscompare = 14;

    /// <summary>A program with its arguments; how it ends; something that it prints. $d and $s are the disk's block and generic device,
    /// $e and $t those of another disk.</summary>
    private static readonly (string Command, int Status, string Says)[] Rows =
    [
        ("sg_inq $d", 0, "Vendor identification: COWSCSI"),
        ("sg_readcap $d", 0, "Number of logical blocks=131072"),
        ("sg_readcap -l $d", 0, "Logical block provisioning: lbpme=1, lbprz=1"),
        ("sg_luns $d", 0, "2 lun entries"),
        ("sg_opcodes $d", 0, "Compare and write"),
        ("sg_opcodes --opcode=0x28 --rctd $d", 0, "Read(10)"),
        ("sg_opcodes --tmf $d", 0, "Logical unit reset"),
        ("sg_turs $d", 0, ""),
        ("sg_requests $d", 0, "No Sense"),
        ("sg_modes -a $d", 0, "Caching, page_control: current"),
        ("sg_vpd -p sv $d", 0, "Logical block provisioning (SBC) [lbpv]"),
        ("sg_vpd -p sn $d", 0, "Unit serial number"),
        ("sg_vpd -p di $d", 0, "naa."),
        ("sg_vpd -p ei $d", 0, "LUICLR=1"),
        ("sg_vpd -p mpp $d", 0, "Policy"),
        ("sg_vpd -p tpc $d", 0, "Extended copy(LID1)"),
        ("sg_vpd -p bl $d", 0, "Optimal unmap granularity: 8 blocks"),
        ("sg_vpd -p bdc $d", 0, "Non-rotating medium"),
        ("sg_vpd -p lbpv $d", 0, "Provisioning type: 2 (thin provisioned)"),

        ("dd if=/run/random of=$d bs=8192 count=1 oflag=direct", 0, ""),
        ("sg_read if=$s count=128 bs=512", 0, "128+0 records in"),
        ("sg_dd if=$s of=$t count=2048 bs=512", 0, "2048+0 records out"),
        ("sg_dd if=$s of=/run/read count=16 bs=512 cdbsz=16 && cmp -n 8192 /run/read /run/random", 0, ""),
        ("sg_dd if=$s of=/run/read count=16 bs=512 cdbsz=12 && cmp -n 8192 /run/read /run/random", 0, ""),
        ("sg_dd if=$s of=/run/read count=16 bs=512 cdbsz=6 && cmp -n 8192 /run/read /run/random", 0, ""),
        ("sg_verify --lba=0 --count=100 $d", 0, ""),
        ("sg_verify --16 --lba=0 --count=16 --ebytchk=1 --ndo=8192 --in=/run/random $d", 0, ""),
        ("sg_verify --16 --lba=0 --count=16 --ebytchk=1 --ndo=8192 --in=/run/other $d", EndedMiscompare, "iscompare"),
        ("sg_write_verify --16 --lba=0 --num=16 --in=/run/random $d", 0, ""),
        ("sg_write_same --lba=64 --num=16 --in=/run/random --xferlen=512 $d && sg_verify --16 --lba=64 --count=1 --ebytchk=1 --ndo=512 --in=/run/random $d", 0, ""),
        ("sg_write_same --16 --unmap --lba=64 --num=16 $d && sg_get_lba_status --lba=64 --brief $d", 0, "0x0000000000000040  0x1ffc0  1"),
        ("sg_write_same --16 --ndob --lba=128 --num=16 $d", 0, ""),
        ("sg_unmap --force --lba=0 --num=16 $d && sg_get_lba_status --lba=0 --brief $d", 0, "0x0000000000000000"),
        ("sg_compare_and_write --in=/run/zeros-random --lba=0 --num=1 $d", 0, ""),
        ("sg_compare_and_write --in=/run/zeros-random --lba=0 --num=1 $d", EndedMiscompare, "Miscompare at byte offset: 0"),
        ("sg_write_x --atomic=0 --16 --lba=0 --num=16 --in=/run/random $d", 0, ""),
        ("sg_write_x --or --16 --lba=0 --num=16 --in=/run/random $d && sg_verify --16 --lba=0 --count=16 --ebytchk=1 --ndo=8192 --in=/run/random $d", 0, ""),
        ("sg_seek --pre-fetch --lba=0 --num-blocks=8 $d", 0, ""),
        ("sg_sync $d", 0, ""),
        ("sg_start --stop $d && sg_start --start $d && sg_turs $d", 0, ""),

        ("sg_logs --page=0xc $d", 0, "Logical block provisioning page"),
        ("sg_logs --page=0xd $d", 0, "emperature"),
        ("sg_logs --page=0x10 $d", 0, "Self-test results"),
        ("sg_logs --page=0x19 $d", 0, "General Statistics and Performance"),
        ("sg_senddiag --test $d", 0, ""),
        ("sg_wr_mode --page=8 --contents=8,12,0 --mask=0,0,4 --save $d && sg_modes -p 8 -c 3 -H $d", 0, "88 12 00"),
        ("sg_wr_mode --page=8 --contents=8,12,4 --mask=0,0,4 --save $d && sg_modes -p 8 -c 0 -H $d", 0, "88 12 04"),
        ("sg_rtpg --decode $d", 0, "active/optimized"),
        ("sg_format --format --quick --wait $e && cmp -n 1048576 $e /dev/zero", 0, ""),
        ("sg_sanitize --block --quick --wait $e && cmp -n 1048576 $e /dev/zero", 0, ""),
        ("sg_sanitize --overwrite --zero --quick --wait $e && cmp -n 1048576 $e /dev/zero", 0, ""),

        ("sg_copy_results --params $d", 0, "Maximum segment descriptor count"),
        ("sg_xcopy if=$s of=$t count=128 bs=512 && cmp -n 65536 $d $e", 0, ""),
        ("sg_reset -d $d; sg_turs $d; sg_turs $d", 0, ""),
    ];

    [SkippableFact]
    public async Task EachGroupOfCommands_AnswersSg3Utils()
    {
        await host.StartAsync();
        var guest = host.Machine;
        await using var sessions = new GuestSessions(guest);
        await sessions.ServeAsync(("disk", "64MiB"), ("other", "64MiB"));
        var session = await sessions.LoginAsync(sessions.Server.Addresses["disk"].Portal.Port);
        var disk = await sessions.DeviceAsync(session, "disk");
        var other = await sessions.DeviceAsync(session, "other");
        await guest.DoAsync(
            "head -c 8192 /dev/urandom >/run/random; head -c 8192 /dev/urandom >/run/other; { head -c 512 /dev/zero; head -c 512 /run/random; } >/run/zeros-random");
        var names = $"d=/dev/{disk} e=/dev/{other} s=/dev/$(ls /sys/block/{disk}/device/scsi_generic) t=/dev/$(ls /sys/block/{other}/device/scsi_generic); ";

        List<string> wrong = [];
        foreach (var (command, expected, says) in Rows)
        {
            var (status, said) = await guest.RunAsync(names + command);
            if (status != expected || !said.Contains(says, StringComparison.Ordinal))
                wrong.Add($"{command}\n  ended with {status}, not {expected}, or did not say \"{says}\":\n{said}");
        }

        output.WriteLine($"{Rows.Length} command lines");
        Assert.True(wrong.Count == 0, string.Join("\n", wrong));
        await sessions.EndAsync();
    }
}
