using CowScsi.Engine;

namespace CowScsi.Tests.Unit.Engine;

/// <summary>What is done to a file or a name, for <see cref="ScriptedDirectory"/>.</summary>
internal enum FileVerb : byte
{
    Open = 1,
    Create,
    Delete,
    Rename,
    List,
    Sync,
    Read,
    Write,
    Flush,
    Allocate,
    SetLength,
}

/// <summary>One operation on its way to the file system. A name is relative to the store; offset and length are 0 where there are none.</summary>
internal readonly record struct FileOperation(FileVerb Verb, string Name, long Offset, long Length);

/// <summary>
/// A real directory with a script between it and the store: it sees each operation first, on the thread that makes it, and may let it
/// pass (true), fail it (false), block it, or change the files. Nothing ever "would wait", so that a request is served where it is made.
/// </summary>
internal sealed class ScriptedDirectory(string path, Func<FileOperation, bool> script) : StoreDirectory
{
    private readonly LinuxDirectory real = new(path);

    public override string Path => real.Path;

    public override long FreeBytes => real.FreeBytes;

    public override bool Exists(string name) => real.Exists(name);

    public override StoreFile Open(string name, bool writable)
    {
        Ask(FileVerb.Open, name);
        return new ScriptedFile(this, name, real.Open(name, writable));
    }

    public override StoreFile Create(string name)
    {
        Ask(FileVerb.Create, name);
        return new ScriptedFile(this, name, real.Create(name));
    }

    public override void Delete(string name)
    {
        Ask(FileVerb.Delete, name);
        real.Delete(name);
    }

    public override void Rename(string from, string to)
    {
        Ask(FileVerb.Rename, from);
        real.Rename(from, to);
    }

    public override IReadOnlyList<string> List(string folder)
    {
        Ask(FileVerb.List, folder);
        return real.List(folder);
    }

    public override void CreateFolder(string folder) => real.CreateFolder(folder);

    public override void Sync(string folder)
    {
        Ask(FileVerb.Sync, folder);
        real.Sync(folder);
    }

    public override IDisposable? TryLock(string name, string text, out string holder) => real.TryLock(name, text, out holder);

    private void Ask(FileVerb verb, string name)
    {
        if (!script(new FileOperation(verb, name, 0, 0)))
            throw new StoreException(StoreError.Io, $"{verb} of '{name}' failed as scripted");
    }

    private sealed class ScriptedFile(ScriptedDirectory directory, string name, StoreFile real) : StoreFile
    {
        public override string Path => real.Path;

        public override string LastError => "as scripted";

        public override long LengthBytes => real.LengthBytes;

        public override FileOutcome Read(Span<byte> destination, long offsetBytes) =>
            Passes(FileVerb.Read, offsetBytes, destination.Length) ? real.Read(destination, offsetBytes) : FileOutcome.Failed;

        public override FileOutcome ReadNow(Span<byte> destination, long offsetBytes) =>
            Passes(FileVerb.Read, offsetBytes, destination.Length) ? real.Read(destination, offsetBytes) : FileOutcome.Failed;

        public override unsafe FileOutcome ReadVectors(void* vectors, int vectorCount, long lengthBytes, long offsetBytes, bool mayWait) =>
            Passes(FileVerb.Read, offsetBytes, lengthBytes) ? real.ReadVectors(vectors, vectorCount, lengthBytes, offsetBytes, mayWait: true) : FileOutcome.Failed;

        public override FileOutcome Write(ReadOnlySpan<byte> source, long offsetBytes) =>
            Passes(FileVerb.Write, offsetBytes, source.Length) ? real.Write(source, offsetBytes) : FileOutcome.Failed;

        public override FileOutcome Flush() => Passes(FileVerb.Flush, 0, 0) ? real.Flush() : FileOutcome.Failed;

        public override FileOutcome Allocate(long offsetBytes, long lengthBytes) =>
            Passes(FileVerb.Allocate, offsetBytes, lengthBytes) ? real.Allocate(offsetBytes, lengthBytes) : FileOutcome.Failed;

        public override FileOutcome SetLength(long lengthBytes) =>
            Passes(FileVerb.SetLength, lengthBytes, 0) ? real.SetLength(lengthBytes) : FileOutcome.Failed;

        public override void Dispose() => real.Dispose();

        private bool Passes(FileVerb verb, long offset, long length) =>
            directory.Script(new FileOperation(verb, name, offset, length));
    }

    private bool Script(FileOperation operation) => script(operation);
}
