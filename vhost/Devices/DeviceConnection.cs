using CowScsi.VhostUser.Rings;

namespace CowScsi.VhostUser;

/// <summary>What a device sees of the front end that has it. Every member may be called from any thread.</summary>
internal sealed class DeviceConnection(Action onConfigChanged, Action<string> log)
{
    private readonly RingWorker?[] workers = new RingWorker?[FrontEndSession.QueuesLimit];

    public void Log(string line) => log(line);

    public void SetWorker(int index, RingWorker? worker) => Volatile.Write(ref workers[index], worker);

    /// <summary>Makes a queue's thread look for what the device has to say.</summary>
    public void Wake(int queue) => Volatile.Read(ref workers[queue])?.Wake();

    /// <summary>Tells the front end that the configuration space is another one.</summary>
    public void AnnounceConfigChange() => onConfigChanged();

    /// <summary>Runs an action once all requests that were aborted before this call have been answered, in all queues.</summary>
    public void AfterAbortedAnswers(Action action)
    {
        var fence = new AnswerFence(action);
        fence.Add();
        foreach (var worker in workers)
            worker?.Post(fence);
        fence.Release();
    }
}
