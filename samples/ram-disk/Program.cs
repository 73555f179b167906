// A disk in memory: dotnet run --project samples/ram-disk -- 64
using System.Globalization;
using CowScsi.Samples;

const int MebibytesMax = 2047;
if (args is not [var size, ..] || !int.TryParse(size, NumberStyles.None, CultureInfo.InvariantCulture, out var mebibytes) || mebibytes is < 1 or > MebibytesMax)
{
    Console.Error.WriteLine($"usage: ram-disk MIB [{Serving.Transports}]; 1 to {MebibytesMax} MiB");
    return 2;
}

return await Serving.RunAsync("ram-disk", "ram-disk", args.ElementAtOrDefault(1), () => new RamDisk(mebibytes << 20));
