namespace CowScsi.Tests.Property;

/// <summary>A folder that is gone when the test is: in memory where the machine offers that, on a real disk where the test asks for it.</summary>
internal sealed class TemporaryFolder : IDisposable
{
    private const string MemoryRoot = "/dev/shm";

    public TemporaryFolder(bool onDisk = false)
    {
        var root = !onDisk && Directory.Exists(MemoryRoot) ? MemoryRoot : System.IO.Path.GetTempPath();
        Path = System.IO.Path.Combine(root, "cowscsi-property-" + Guid.NewGuid().ToString("n"));
        Directory.CreateDirectory(Path);
    }

    public string Path { get; }

    public string At(string name) => System.IO.Path.Combine(Path, name);

    public void Dispose() => Directory.Delete(Path, recursive: true);
}
