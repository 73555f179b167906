using System.Buffers.Binary;
using System.Numerics;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Messages;
using CowScsi.VhostUser.Native;
using CowScsi.VhostUser.Rings;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.VhostUser;

/// <summary>
/// Rings. A ring is started by SET_VRING_KICK and stopped by GET_VRING_BASE. It takes requests while it is started and enabled; where
/// protocol features were not negotiated it is enabled from the start.
/// </summary>
internal sealed partial class FrontEndSession
{
    /// <summary>SET_VRING_KICK, CALL and ERR: the ring in bits 0 to 7, and "no descriptor" in bit 8.</summary>
    private const ulong RingIndexMask = 0xFF;
    private const ulong NoDescriptorFlag = 0x100;

    /// <summary>VHOST_VRING_F_LOG: writes to the used ring are logged.</summary>
    private const uint LogUsedFlag = 1;

    /// <summary>virtio 1.2, 2.7 and 2.8: alignment of descriptors, of the used ring, and of the available ring; packed events take four.</summary>
    private const int DescriptorAlignment = 16;
    private const int DeviceAlignment = 4;
    private const int DriverAlignment = 2;

    private void HandleRing(Message message)
    {
        switch (message.Type)
        {
            case FrontEndMessage.SetRingSize:
                SetRingSize(Stopped(message), message.UInt32(4));
                break;
            case FrontEndMessage.SetRingAddress:
                SetRingAddress(message);
                break;
            case FrontEndMessage.SetRingBase:
                Stopped(message).Base = message.UInt32(4);
                break;
            case FrontEndMessage.GetRingBase:
                GetRingBase(message);
                break;
            case FrontEndMessage.SetRingKick:
                SetRingKick(message);
                break;
            case FrontEndMessage.SetRingCall:
                SetRingCall(message);
                break;
            case FrontEndMessage.SetRingError:
                Change(Named(message), TakeRingEvent(message), static (worker, taken) =>
                {
                    worker.Error?.Dispose();
                    worker.Error = taken;
                });
                break;
            case FrontEndMessage.SetRingEnable:
                SetRingEnable(message);
                break;
            default:
                throw new FrontEndException($"{message.Type} is not for a back end of this kind");
        }
    }

    private RingState Find(uint index) =>
        index < rings.Length ? rings[index] : throw new FrontEndException($"ring {index} of a device with {rings.Length}");

    private RingState Named(Message message)
    {
        if ((message.Number & ~(RingIndexMask | NoDescriptorFlag)) != 0)
            throw new FrontEndException($"{message.Type} has unknown bits: {message.Number:x}");
        return Find((uint)(message.Number & RingIndexMask));
    }

    private RingState Stopped(Message message)
    {
        var ring = Find(message.UInt32(0));
        return ring.IsStarted ? throw new FrontEndException($"{message.Type} while ring {ring.Index} runs") : ring;
    }

    private void SetRingSize(RingState ring, uint size)
    {
        if (size == 0 || size > Ring.SizeMax || (!IsPacked && !BitOperations.IsPow2(size)))
            throw new FrontEndException($"ring {ring.Index} cannot have {size} descriptors");
        ring.Size = (int)size;
    }

    private void SetRingAddress(Message message)
    {
        var ring = Find(message.UInt32(0));
        var flags = message.UInt32(4);
        if ((flags & ~LogUsedFlag) != 0)
            throw new FrontEndException($"ring {ring.Index} has unknown flags {flags:x}");
        var descriptors = message.UInt64(8);
        var used = message.UInt64(16);
        var available = message.UInt64(24);
        if (descriptors % DescriptorAlignment != 0 || used % DeviceAlignment != 0 ||
            available % (ulong)(IsPacked ? DeviceAlignment : DriverAlignment) != 0)
            throw new FrontEndException($"ring {ring.Index} is not aligned");
        if (ring.IsStarted && (descriptors != ring.DescriptorAddress || used != ring.DeviceAddress || available != ring.DriverAddress))
            throw new FrontEndException($"ring {ring.Index} was moved while it runs");
        ring.DescriptorAddress = descriptors;
        ring.DeviceAddress = used;
        ring.DriverAddress = available;
        ring.LogAddress = (flags & LogUsedFlag) != 0 ? message.UInt64(32) : null;
        ring.HasAddresses = true;
        if (ring.IsStarted)
            Rebuild(static () => { });
    }

    private void SetRingKick(Message message)
    {
        var ring = Named(message);
        var kick = TakeRingEvent(message);
        if (!hasSetFeatures || ring.Size == 0 || !ring.HasAddresses)
        {
            kick?.Dispose();
            throw new FrontEndException($"ring {ring.Index} was kicked before its features, size and addresses were set");
        }

        var worker = WorkerOf(ring);
        if (ring.IsStarted)
        {
            worker.Hold();
        }
        else
        {
            worker.Drain();
            worker.SetRing(Build(ring));
            ring.IsStarted = true;
        }

        worker.Kick?.Dispose();
        worker.Kick = kick;
        Continue(ring);
    }

    /// <summary>
    /// Changes where a ring's interrupts go. The new descriptor is signalled at once: the message has no answer, so a front end that masks a
    /// vector looks for a pending interrupt before this side knows, and one that went to the old descriptor in between would be lost, with
    /// the guest waiting for it for ever (QEMU masks and unmasks so). An interrupt too many costs the driver one look at its ring.
    /// </summary>
    private void SetRingCall(Message message)
    {
        var ring = Named(message);
        var taken = TakeRingEvent(message);
        Change(ring, taken, static (worker, taken) =>
        {
            worker.Call?.Dispose();
            worker.Call = taken;
        });
        if (ring.IsStarted && taken is not null)
            LinuxCall.Signal(taken);
    }

    private void SetRingEnable(Message message)
    {
        var ring = Find(message.UInt32(0));
        var wanted = message.UInt32(4);
        if (wanted > 1)
            throw new FrontEndException($"ring {ring.Index} is to be enabled by {wanted}");
        ring.IsEnabled = wanted == 1;
        if (ring.Worker is not { } worker)
            return;
        worker.Hold();
        Continue(ring);
    }

    private void GetRingBase(Message message)
    {
        var ring = Find(message.UInt32(0));
        Stop(ring);
        BinaryPrimitives.WriteUInt32LittleEndian(message.Payload[4..], ring.Base);
        Send(message.Type, message.Payload);
    }

    /// <summary>Stops a ring once all that was taken from it is answered.</summary>
    private void Stop(RingState ring)
    {
        if (ring is not { IsStarted: true, Worker: { } worker })
            return;
        worker.Drain();
        ring.Base = worker.Ring!.Base;
        worker.Ring.Retire();
        worker.SetRing(null);
        worker.Kick?.Dispose();
        worker.Kick = null;
        ring.IsStarted = false;
        worker.Resume();
    }

    private void StopRings()
    {
        foreach (var ring in rings)
            ring.Worker?.BeginDrain();
        foreach (var ring in rings)
        {
            Stop(ring);
            ring.IsEnabled = false;
            ring.Worker?.Resume();
        }
    }

    /// <summary>Changes what all rings stand on, while nothing is under way; those that run go on where they were.</summary>
    private void Rebuild(Action change)
    {
        foreach (var ring in rings)
        {
            if (ring.IsStarted)
                ring.Worker!.BeginDrain();
        }

        foreach (var ring in rings)
        {
            if (!ring.IsStarted)
                continue;
            ring.Worker!.WaitPaused();
            ring.Base = ring.Worker.Ring!.Base;
        }

        change();
        foreach (var ring in rings)
        {
            if (!ring.IsStarted)
                continue;
            var broken = ring.Worker!.Ring!.Fault;
            ring.Worker.SetRing(Build(ring));
            if (broken is not null)
                ring.Worker.Ring!.Break(broken);
            Continue(ring);
        }
    }

    private void Change(RingState ring, SafeFileHandle? taken, Action<RingWorker, SafeFileHandle?> change)
    {
        var worker = WorkerOf(ring);
        worker.Hold();
        change(worker, taken);
        Continue(ring);
    }

    private void Continue(RingState ring)
    {
        var needsEnabling = (features & VirtioFeatures.ProtocolFeatures) != 0;
        ring.Worker!.IsEnabled = ring.IsStarted && (ring.IsEnabled || !needsEnabling);
        ring.Worker.Resume();
    }

    private RingWorker WorkerOf(RingState ring)
    {
        if (ring.Worker is { } there)
            return there;
        var worker = new RingWorker(
            $"vhost {device.Kind} {ring.Index}",
            device.CreateQueue(ring.Index),
            (_, fault) => log($"ring {ring.Index} of the guest is broken and stands still: {fault}"),
            HasLostMemory,
            requestCheck);
        ring.Worker = worker;
        connection.SetWorker(ring.Index, worker);
        return worker;
    }

    private Ring Build(RingState ring)
    {
        var (descriptorBytes, driverBytes, deviceBytes) = Ring.AreaBytes(IsPacked, ring.Size);
        if (!memory.TryFindUser(ring.DescriptorAddress, descriptorBytes, out var descriptors) ||
            !memory.TryFindUser(ring.DriverAddress, driverBytes, out var driver) ||
            !memory.TryFindUser(ring.DeviceAddress, deviceBytes, out var deviceArea))
            throw new FrontEndException($"ring {ring.Index} does not lie in the guest's memory");
        var isLogging = (features & VirtioFeatures.LogAll) != 0 && dirtyLog is not null;
        var layout = new RingLayout(
            ring.Size,
            descriptors,
            driver,
            deviceArea,
            (features & VirtioFeatures.EventIndex) != 0,
            (features & VirtioFeatures.IndirectDescriptors) != 0,
            memory,
            isLogging ? new DirtyLog(dirtyLog!, logEvent) : null,
            isLogging ? ring.LogAddress : null,
            InflightOf(ring));
        return IsPacked ? new PackedRing(layout, ring.Base) : new SplitRing(layout, ring.Base);
    }

    private SafeFileHandle? TakeRingEvent(Message message)
    {
        var hasNone = (message.Number & NoDescriptorFlag) != 0;
        if (hasNone != (message.Descriptors.Count == 0))
            throw new FrontEndException($"{message.Type} says that it has {(hasNone ? "no" : "a")} descriptor, and came with {message.Descriptors.Count}");
        return hasNone ? null : TakeEvent(message);
    }

    private static SafeFileHandle TakeEvent(Message message)
    {
        var taken = message.TakeDescriptor();
        if (LinuxCall.IsEvent(taken))
            return taken;
        taken.Dispose();
        throw new FrontEndException($"the descriptor of {message.Type} is no eventfd");
    }
}
