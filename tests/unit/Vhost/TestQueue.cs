using System.Diagnostics;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;
using Xunit;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A running queue of a test front end, with its event descriptors: submits, kicks where the device wants it, waits for calls.</summary>
internal sealed unsafe class TestQueue : IDisposable
{
    private readonly Dictionary<ushort, uint> answered = [];

    public TestQueue(TestFrontEnd frontEnd, uint index, DriverQueue driver, bool hasKick = true)
    {
        Driver = driver;
        Kick = hasKick ? LinuxCall.CreateEvent() : null;
        frontEnd.SetRing(index, driver, Kick, Call);
    }

    public DriverQueue Driver { get; }

    public SafeFileHandle? Kick { get; }

    public SafeFileHandle Call { get; } = LinuxCall.CreateEvent();

    public ushort Submit(params ReadOnlySpan<Piece> pieces) => SubmitAt(0, pieces);

    public ushort SubmitAt(ulong indirectTable, params ReadOnlySpan<Piece> pieces)
    {
        var id = Driver.Submit(pieces, indirectTable);
        if (Driver.TakeKickWish() && Kick is not null)
            LinuxCall.Signal(Kick);
        return id;
    }

    /// <summary>Waits for a request's answer, by call; bytes that the device wrote.</summary>
    public uint Wait(ushort id)
    {
        uint length;
        while (!answered.Remove(id, out length))
            TakeOrSleep();
        return length;
    }

    /// <summary>The id of the next answer, whichever it is.</summary>
    public ushort WaitAny()
    {
        while (answered.Count == 0)
            TakeOrSleep();
        var id = answered.Keys.First();
        answered.Remove(id);
        return id;
    }

    /// <summary>Whether a request was answered, now.</summary>
    public bool IsAnswered(ushort id)
    {
        TakeAll();
        return answered.ContainsKey(id);
    }

    public void Dispose()
    {
        Kick?.Dispose();
        Call.Dispose();
    }

    private bool TakeAll()
    {
        var any = false;
        while (Driver.TryTakeUsed(out var id, out var length))
        {
            answered.Add(id, length);
            any = true;
        }

        return any;
    }

    private void TakeOrSleep()
    {
        var clock = Stopwatch.StartNew();
        while (!TakeAll())
        {
            Driver.WantCall(true);
            if (TakeAll())
                return;
            Assert.True(clock.ElapsedMilliseconds < TestFrontEnd.TimeoutMilliseconds, "the device does not answer");
            var entry = new LinuxCall.PollEntry { Descriptor = (int)Call.DangerousGetHandle(), Events = LinuxCall.PollIn };
            if (LinuxCall.Poll(&entry, 1, 1_000_000_000) > 0)
                LinuxCall.Clear(Call);
        }
    }
}
