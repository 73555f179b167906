using CowScsi.Iscsi.Connections;
using CowScsi.Layers;

namespace CowScsi.Iscsi.Sockets;

/// <summary>How an attempt to send ended.</summary>
internal enum SendOutcome : byte
{
    /// <summary>Everything is with the kernel.</summary>
    Drained = 1,

    /// <summary>The socket takes no more now.</summary>
    Blocked = 2,

    /// <summary>The connection is broken.</summary>
    Broken = 3,
}

/// <summary>
/// What waits to be sent on one connection: headers and small data in pooled chunks, large Data-In straight from the command's own
/// buffer, all in one vectored call. An empty queue holds no buffer. Owned by the connection's loop.
/// </summary>
internal sealed unsafe class SendQueue
{
    private const int ChunkBytes = 64 * 1024;
    private const int PiecesMin = 64;

    private IoSlice[] pieces = [];
    private IscsiTask?[] tasks = [];
    private NativeBuffer?[] buffers = [];
    private int first;
    private int count;
    private NativeBuffer? chunk;
    private int chunkUsed;
    private bool isHeldBack;

    /// <summary>Whether there is nothing left to do for a flush.</summary>
    public bool IsEmpty => first == count && !isHeldBack;

    public long PendingBytes { get; private set; }

    /// <summary>
    /// Room for a piece of at most <see cref="ChunkBytes"/> bytes that the caller fills at once. The pieces of one PDU may come from
    /// several calls; they follow each other on the wire.
    /// </summary>
    public Span<byte> Reserve(DataBufferPool pool, int lengthBytes)
    {
        if (chunk is null || chunk.Length - chunkUsed < lengthBytes)
        {
            if (chunk is not null)
                Append(default, null, chunk);
            chunk = pool.Rent(ChunkBytes);
            chunkUsed = 0;
        }

        var span = chunk.Span.Slice(chunkUsed, lengthBytes);
        fixed (byte* start = span)
        {
            var last = count - 1;
            if (count > first && tasks[last] is null && buffers[last] is null && pieces[last].Address + pieces[last].Length == (nint)start)
            {
                pieces[last] = new IoSlice(pieces[last].Address, pieces[last].Length + lengthBytes);
                PendingBytes += lengthBytes;
            }
            else
            {
                Append(new IoSlice((nint)start, lengthBytes), null, null);
            }
        }

        chunkUsed += lengthBytes;
        return span;
    }

    /// <summary>
    /// Sends bytes from where they are. With the last reference to a command's data comes the command itself, which is released once
    /// the bytes are gone.
    /// </summary>
    public void AppendReference(IoBuffer data, IscsiTask? released)
    {
        var span = data.FirstSpan;
        fixed (byte* start = span)
            Append(new IoSlice((nint)start, span.Length), released, null);
    }

    /// <summary>Gives a command back to its pool once everything queued so far is sent.</summary>
    public void ReleaseWhenSent(IscsiTask task) => Append(default, task, null);

    /// <param name="loop">The connection's.</param>
    /// <param name="descriptor">The socket.</param>
    /// <param name="isMoreComing">The caller flushes again at once, whether or not there is more by then.</param>
    public SendOutcome Flush(EventLoop loop, int descriptor, bool isMoreComing)
    {
        if (isHeldBack && !isMoreComing && first == count)
        {
            isHeldBack = false;
            LinuxSocket.Push(descriptor);
        }

        while (first < count)
        {
            nint sent;
            fixed (IoSlice* start = &pieces[first])
                sent = LinuxSocket.Send(descriptor, start, Math.Min(count - first, LinuxSocket.VectorsMax), isMoreComing);
            if (sent < 0)
                return sent == -LinuxSocket.Again ? SendOutcome.Blocked : SendOutcome.Broken;
            isHeldBack = isMoreComing;
            Advance(loop, sent);
        }

        return SendOutcome.Drained;
    }

    /// <summary>Forgets everything, for a connection that ends.</summary>
    public void Clear(EventLoop loop)
    {
        for (; first < count; first++)
            Release(loop, first);
        Reset(loop);
    }

    private void Advance(EventLoop loop, nint sent)
    {
        PendingBytes -= sent;
        while (first < count && sent >= pieces[first].Length)
        {
            sent -= pieces[first].Length;
            Release(loop, first);
            first++;
        }

        if (first < count)
            pieces[first] = new IoSlice(pieces[first].Address + sent, pieces[first].Length - sent);
        else
            Reset(loop);
    }

    private void Release(EventLoop loop, int index)
    {
        if (tasks[index] is { } task)
            task.ReturnTo(loop);
        if (buffers[index] is { } buffer)
            loop.Buffers.Return(buffer);
        tasks[index] = null;
        buffers[index] = null;
    }

    private void Reset(EventLoop loop)
    {
        first = 0;
        count = 0;
        PendingBytes = 0;
        chunkUsed = 0;
        if (chunk is not null)
            loop.Buffers.Return(chunk);
        chunk = null;
    }

    private void Append(IoSlice piece, IscsiTask? task, NativeBuffer? buffer)
    {
        if (count == pieces.Length)
            MakeRoom();
        pieces[count] = piece;
        tasks[count] = task;
        buffers[count] = buffer;
        count++;
        PendingBytes += piece.Length;
    }

    private void MakeRoom()
    {
        if (first > 0 && first >= pieces.Length / 2)
        {
            Array.Copy(pieces, first, pieces, 0, count - first);
            Array.Copy(tasks, first, tasks, 0, count - first);
            Array.Copy(buffers, first, buffers, 0, count - first);
            Array.Clear(tasks, count - first, first);
            Array.Clear(buffers, count - first, first);
            count -= first;
            first = 0;
            return;
        }

        var size = Math.Max(PiecesMin, pieces.Length * 2);
        Array.Resize(ref pieces, size);
        Array.Resize(ref tasks, size);
        Array.Resize(ref buffers, size);
    }
}
