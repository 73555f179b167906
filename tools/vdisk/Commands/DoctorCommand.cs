using System.CommandLine;
using CowScsi.Tcmu;
using CowScsi.Vdisk.Documents;
using CowScsi.Vdisk.Serving;

namespace CowScsi.Vdisk.Commands;

/// <summary>`vdisk doctor`: what this machine lacks for disks of the kernel, and which of ours nobody serves any more.</summary>
internal static class DoctorCommand
{
    public static Command Build(CommandLine line)
    {
        var remove = new Option<bool>("--remove") { Description = "Remove what dead processes left in the kernel" };
        var command = new Command("doctor", "Show what is missing for attached disks, and what dead processes left") { remove };
        return line.WithAction(command, async invocation =>
        {
            var missing = TcmuDevices.Diagnose();
            var devices = new List<KernelDeviceDocument>();
            var code = ExitCode.Done;
            foreach (var device in TcmuDevices.List())
            {
                var isRemoved = false;
                if (!device.IsServed && invocation.Get(remove))
                {
                    try
                    {
                        await TcmuDevices.RemoveAsync(device.Name, invocation.Environment.Complain);
                        isRemoved = true;
                    }
                    catch (TcmuException error)
                    {
                        code = KernelAttachments.Explain(error).Code;
                        invocation.Environment.Complain($"{device.Name}: {error.Message}");
                    }
                }

                devices.Add(new KernelDeviceDocument(device.Name, device.Owner, device.Fabrics, device.Disk, device.IsServed, isRemoved));
            }

            Print(invocation, missing, devices);
            return code;
        });
    }

    private static void Print(Invocation invocation, IReadOnlyList<string> missing, List<KernelDeviceDocument> devices)
    {
        if (invocation.IsJson)
        {
            invocation.PrintJson(new DoctorAnswer(missing, devices), DocumentContext.Default.DoctorAnswer);
            return;
        }

        foreach (var problem in missing)
            invocation.Print($"missing: {problem}");
        foreach (var device in devices)
        {
            var state = device.Removed ? "removed" : device.Served ? "served" : "left by a dead process (a server of its store takes it over; vdisk doctor --remove takes it away)";
            invocation.Print($"{device.Path ?? device.Name}  {device.Owner}  {string.Join(", ", device.Fabrics)}  {state}");
        }

        if (missing.Count == 0 && devices.Count == 0)
            invocation.Print("nothing is missing, and the kernel has no disk of ours");
    }
}
