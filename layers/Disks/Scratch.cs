namespace CowScsi.Layers;

/// <summary>A thread's own buffers for what cannot be done in place. Used by synchronous code only; never across a wait.</summary>
internal sealed class Scratch
{
    [ThreadStatic]
    private static Scratch? current;

    private readonly NativeBuffer stored = new(Engine.StoreFormat.PageBytes);
    private readonly NativeBuffer plain = new(Engine.StoreFormat.PageBytes);
    private readonly NativeBuffer block = new(Engine.StoreFormat.BlockBytes);

    public static Scratch Current => current ??= new Scratch();

    /// <summary>64 KiB for an extent's stored bytes.</summary>
    public Span<byte> Stored => stored.Span;

    /// <summary>64 KiB for an extent's blocks.</summary>
    public Span<byte> Plain => plain.Span;

    public IoBuffer PlainBuffer => plain.Buffer;

    /// <summary>One block.</summary>
    public Span<byte> Block => block.Span;

    public IoBuffer BlockBuffer => block.Buffer;
}
