using System.Diagnostics;
using Xunit;

namespace CowScsi.Tests.Unit.Repository;

/// <summary>The systemd service, as systemd itself reads it.</summary>
public sealed class ServiceTests : IDisposable
{
    private readonly string prefix = Directory.CreateTempSubdirectory("vdisk-prefix-").FullName;

    public void Dispose() => Directory.Delete(prefix, recursive: true);

    [Fact]
    public async Task Service_IsUnderstoodBySystemd()
    {
        Directory.CreateDirectory(Path.Combine(prefix, "bin"));
        var program = Path.Combine(prefix, "bin/vdisk");
        File.WriteAllText(program, "#!/bin/sh\n");
        File.SetUnixFileMode(program, UnixFileMode.UserRead | UnixFileMode.UserWrite | UnixFileMode.UserExecute);
        var text = SourceTree.Read("packaging/vdisk.service").Replace("@prefix@", prefix, StringComparison.Ordinal);
        var unit = Path.Combine(prefix, "vdisk.service");
        File.WriteAllText(unit, text);
        using var verify = Process.Start(new ProcessStartInfo("systemd-analyze", ["verify", "--man=no", unit]) { UseShellExecute = false, RedirectStandardOutput = true, RedirectStandardError = true })!;
        var error = verify.StandardError.ReadToEndAsync();
        var said = await verify.StandardOutput.ReadToEndAsync() + await error;
        await verify.WaitForExitAsync();
        Assert.DoesNotContain("vdisk.service", said, StringComparison.Ordinal);
        Assert.True(verify.ExitCode == 0, said);
    }

    [Fact]
    public void Install_PutsTheServiceWhereSystemdLooks_AndKeepsAConfiguration()
    {
        // A tree with a program that stands for the built one.
        var tree = Path.Combine(prefix, "tree");
        foreach (var file in (string[])["scripts/install", "scripts/lib.sh", "packaging/vdisk.service", "packaging/vdisk.default"])
        {
            Directory.CreateDirectory(Path.Combine(tree, Path.GetDirectoryName(file)!));
            File.Copy(Path.Combine(SourceTree.Root, file), Path.Combine(tree, file));
        }

        Directory.CreateDirectory(Path.Combine(tree, "bin/lib"));
        File.Copy("/bin/true", Path.Combine(tree, "bin/lib/vdisk"));
        File.CreateSymbolicLink(Path.Combine(tree, "bin/vdisk"), "lib/vdisk");
        var root = Path.Combine(prefix, "root");
        for (var time = 0; time < 2; time++)
        {
            var start = new ProcessStartInfo(Path.Combine(tree, "scripts/install")) { UseShellExecute = false, RedirectStandardOutput = true };
            start.Environment["DESTDIR"] = root;
            start.Environment["PREFIX"] = "/opt/disks";
            using var install = Process.Start(start)!;
            install.StandardOutput.ReadToEnd();
            install.WaitForExit();
            Assert.Equal(0, install.ExitCode);
            if (time == 0)
                File.WriteAllText(Path.Combine(root, "etc/default/vdisk"), "VDISK_STORE=/mine\n");
        }

        Assert.Equal("VDISK_STORE=/mine\n", File.ReadAllText(Path.Combine(root, "etc/default/vdisk")));
        Assert.Contains("ExecStart=/opt/disks/bin/vdisk serve", File.ReadAllText(Path.Combine(root, "opt/disks/lib/systemd/system/vdisk.service")), StringComparison.Ordinal);
        Assert.Equal(File.ReadAllBytes("/bin/true"), File.ReadAllBytes(Path.Combine(root, "opt/disks/bin/vdisk")));
    }
}
