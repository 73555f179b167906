using System.Globalization;
using System.Net;
using System.Net.Sockets;
using System.Runtime.InteropServices;
using CowScsi.Iscsi;
using CowScsi.Layers;
using CowScsi.Scsi;
using CowScsi.Tcmu;
using CowScsi.VhostUser;

namespace CowScsi.Samples;

/// <summary>The few lines that the samples have in common: a device becomes a disk of initiators until the program is told to end.</summary>
internal static class Serving
{
    public const string Transports = "iscsi[:PORT] | vhost-user:SOCKET | tcmu";

    /// <summary>Prints where initiators find the disk, and waits for SIGINT or SIGTERM. What is wrong is one line.</summary>
    /// <returns>The exit code.</returns>
    public static async Task<int> RunAsync(string sample, string identity, string? transport, Func<BlockDevice> open, ScsiCommandHandler? handler = null)
    {
        var end = new TaskCompletionSource();
        using var interrupted = PosixSignalRegistration.Create(PosixSignal.SIGINT, End);
        using var terminated = PosixSignalRegistration.Create(PosixSignal.SIGTERM, End);
        try
        {
            await using var device = open();
            await using var unit = new LogicalUnit(
                device, LogicalUnitIdentity.FromName(identity), new LogicalUnitOptions { Handler = handler, Log = Console.Error.WriteLine });
            await using ServedDisk disk = (transport ?? "iscsi").Split(':', 2) switch
            {
                ["iscsi"] => IscsiDisk.Serve(unit, sample),
                ["iscsi", var port] => IscsiDisk.Serve(unit, sample, new IPEndPoint(IPAddress.Loopback, ushort.Parse(port, CultureInfo.InvariantCulture))),
                ["vhost-user", var socket] => VhostUserDisk.Listen(unit, socket, Console.Error.WriteLine),
                ["tcmu"] => await TcmuDisk.AttachAsync(unit, sample, log: Console.Error.WriteLine),
                _ => throw new FormatException($"'{transport}' is no transport: {Transports}"),
            };
            Console.WriteLine(disk.Address);
            await end.Task;
            return 0;
        }
        catch (Exception error) when (error is SocketException or IOException or UnauthorizedAccessException or HttpRequestException or
            TaskCanceledException or TcmuException or FormatException or OverflowException or ArgumentException)
        {
            Console.Error.WriteLine($"{sample}: {error.Message}");
            return 1;
        }

        void End(PosixSignalContext signal)
        {
            signal.Cancel = true;
            end.TrySetResult();
        }
    }
}
