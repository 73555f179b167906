namespace CowScsi.Engine;

/// <summary>
/// Asks the operating system to begin writing out what the log has just put into a file. The call blocks while the device's queue is
/// full, so a thread of its own makes it: one request at a time, and what comes meanwhile is left to the next one or to the flush.
/// </summary>
internal sealed class WritebackThread : IDisposable
{
    private readonly object gate = new();
    private Thread? thread;
    private StoreFile? file;
    private long offsetBytes;
    private long lengthBytes;
    private bool stopping;

    public void Start(StoreFile target, long offset, long length)
    {
        lock (gate)
        {
            if (file == target && offset == offsetBytes + lengthBytes)
                lengthBytes += length; // Not taken yet: it grows.
            else
                (file, offsetBytes, lengthBytes) = (target, offset, length);
            if (thread is null)
            {
                thread = new Thread(Loop) { IsBackground = true, Name = "log writeback" };
                thread.Start();
            }

            Monitor.Pulse(gate);
        }
    }

    public void Dispose()
    {
        lock (gate)
        {
            stopping = true;
            Monitor.Pulse(gate);
        }

        thread?.Join();
    }

    private void Loop()
    {
        while (true)
        {
            StoreFile target;
            long offset;
            long length;
            lock (gate)
            {
                while (file is null && !stopping)
                    Monitor.Wait(gate);
                if (stopping)
                    return;
                (target, offset, length) = (file!, offsetBytes, lengthBytes);
                file = null;
            }

            try
            {
                target.StartWriteback(offset, length);
            }
            catch (ObjectDisposedException)
            {
                // The segment was removed or its file closed meanwhile: there is nothing to hurry any more.
                continue;
            }
        }
    }
}
