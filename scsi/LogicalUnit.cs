using System.Runtime.CompilerServices;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// A direct-access block logical unit (SBC-4) over a block device. It may be mapped under several targets at once; its task set, mode
/// parameters and medium state are then shared, as SAM-5 has it.
/// </summary>
/// <remarks>Mode parameters, medium state and the list of nexuses are guarded by one lock; single values are read without it.</remarks>
public sealed partial class LogicalUnit : IAsyncDisposable
{
    private const int ServiceActionMask = 0x1F;

    private static long orderLast;

    private readonly Lock gate = new();
    private readonly List<ItlNexus> nexuses = [];
    private readonly TaskSet tasks;
    private volatile ModeParameters mode;
    private volatile CommandTable commands;
    private volatile bool isMediumPresent = true;
    private volatile PowerCondition power;

    /// <summary>Presents <paramref name="device"/>, which stays the caller's to dispose of, after <see cref="CloseAsync"/>.</summary>
    public LogicalUnit(BlockDevice device, LogicalUnitIdentity identity, LogicalUnitOptions options)
    {
        ArgumentNullException.ThrowIfNull(device);
        ArgumentNullException.ThrowIfNull(identity);
        ArgumentNullException.ThrowIfNull(options);
        ArgumentOutOfRangeException.ThrowIfLessThan(options.TasksMax, 1, nameof(options));
        Device = device;
        Identity = identity;
        Options = options;
        tasks = new TaskSet(options.TasksMax);
        savedMode = LoadMode();
        mode = SavedOrDefaultMode;
        handler = options.Handler;
        isHandlerFirst = handler?.ComesFirst ?? false;
        declared = handler?.Commands ?? [];
        commands = FindTable();
        LoadReservations();
        device.GeometryChanged += OnGeometryChanged;
        ResumeErasure();
    }

    /// <summary>What it presents.</summary>
    public BlockDevice Device { get; }

    /// <summary>What initiators recognize it by.</summary>
    public LogicalUnitIdentity Identity { get; }

    /// <summary>How it presents the device, as given.</summary>
    public LogicalUnitOptions Options { get; }

    /// <summary>Commands that have arrived and not ended.</summary>
    public int TaskCount => tasks.Count;

    /// <summary>
    /// Tells logical units of the process apart and orders them: a piece of a copy enters the task sets of its two in this order, so that no
    /// two pieces wait for each other.
    /// </summary>
    internal long Order { get; } = Interlocked.Increment(ref orderLast);

    internal ScratchPool Scratch { get; } = new();

    /// <summary>ROD tokens that stand for something of this medium.</summary>
    internal UnitTokens Tokens { get; } = new();

    internal CommandTable Commands => commands;

    internal ModeParameters Mode => mode;

    internal bool IsMediumPresent => isMediumPresent;

    /// <summary>What START STOP UNIT asked for last, where no command needed the medium since.</summary>
    internal PowerCondition Power
    {
        get => power;
        set => power = value;
    }

    internal bool IsWriteProtected => Options.IsReadOnly || Device.Geometry.IsReadOnly || mode.IsSoftwareWriteProtected;

    internal bool IsRemovalPrevented
    {
        get
        {
            lock (gate)
                return HoldsMedium();
        }
    }

    /// <summary>
    /// Takes no further command, and completes once the last task has ended: the device is not touched after that. Remove the logical
    /// unit from its targets first, so that initiators are told.
    /// </summary>
    public async ValueTask CloseAsync()
    {
        Device.GeometryChanged -= OnGeometryChanged;
        await EndOperationAsync();
        await tasks.CloseAsync();
        Tokens.RevokeAll();
        Scratch.Release();
    }

    /// <summary>As <see cref="CloseAsync"/>.</summary>
    public ValueTask DisposeAsync() => CloseAsync();

    /// <summary>Whether unused blocks are not stored, and can be given back: provisioning is announced and UNMAP exists.</summary>
    internal static bool IsThin(BlockGeometry geometry) => geometry.DiscardGranularityBytes > 0;

    /// <summary>Carries out a command of a nexus. Completes before it returns where no block request waits or is offloaded.</summary>
    internal ValueTask ExecuteAsync(ItlNexus itl, ScsiCommand command)
    {
        var entry = Find(command.Cdb);
        command.Task.Role = entry is not null && (entry.Traits & CommandTraits.ThirdPartyCopy) != 0 ? TaskRole.Copy : TaskRole.Command;
        return ExecuteAsync(itl, command, entry);
    }

    /// <summary>Carries out one piece of a third-party copy, with all checks that a command of its nexus has to pass.</summary>
    internal ValueTask ExecuteTransferAsync(ItlNexus itl, ScsiCommand command, CommandEntry entry)
    {
        command.Task.Role = TaskRole.Transfer;
        return ExecuteAsync(itl, command, entry);
    }

    private ValueTask ExecuteAsync(ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        command.UsesDescriptorSense = mode.UsesDescriptorSense;
        if (command.Attribute == TaskAttribute.Aca)
        {
            // No ACA condition can exist, since NACA is refused (SAM-5, 8.9.5).
            command.Fail(SenseCodes.InvalidMessageError);
            return default;
        }

        var isExclusive = entry is not null && (entry.Traits & CommandTraits.Exclusive) != 0;
        switch (tasks.Enter(itl, command.Task, isExclusive, out var enabled))
        {
            case Admission.Enabled:
                break;
            case Admission.Dormant:
                return RunWhenEnabledAsync(enabled, itl, command, entry);
            case Admission.Full:
                command.Status = ScsiStatus.TaskSetFull;
                return default;
            case Admission.Busy:
                command.Status = ScsiStatus.Busy;
                return default;
            case Admission.Closed:
                command.IsGone = true;
                command.Fail(SenseCodes.LogicalUnitNotSupported);
                return default;
            default:
                command.IsAborted = true;
                return default;
        }

        var hasLeft = false;
        try
        {
            var work = Dispatch(itl, command, entry);
            if (!work.IsCompletedSuccessfully)
            {
                hasLeft = true;
                return LeaveWhenDoneAsync(work, command);
            }

            work.GetAwaiter().GetResult();
            return default;
        }
        finally
        {
            if (!hasLeft)
                tasks.Leave(command.Task);
        }
    }

    /// <summary>Makes a nexus known.</summary>
    internal void Attach(ItlNexus itl)
    {
        lock (gate)
        {
            nexuses.Add(itl);
            itl.Access = AccessOf(itl);
            itl.PortAccess = groups.GetValueOrDefault(itl.Nexus.Target.PortGroupId, PortGroupState.Initial).Access;
        }
    }

    /// <summary>Forgets a nexus: it holds the medium no longer, and lets no further task in. Tasks under way run on.</summary>
    internal void Detach(ItlNexus itl)
    {
        tasks.Detach(itl);
        itl.Copies.Clear();
        lock (gate)
        {
            LetGo(itl);
            nexuses.Remove(itl);
        }
    }

    /// <summary>Aborts tasks of one nexus; with a tag, only that one. Completes with their number once they have ended.</summary>
    internal async ValueTask<int> AbortAsync(ItlNexus itl, ulong? tag)
    {
        var (count, ended) = tasks.Abort(itl, tag);
        await ended;
        return count;
    }

    /// <summary>Aborts every task; other nexuses whose tasks were cleared learn it by unit attention (SAM-5, 7.4).</summary>
    internal async ValueTask ClearTaskSetAsync(ItlNexus requester)
    {
        var (_, ended) = tasks.Abort(null, null, owner =>
        {
            if (owner != requester)
                owner.Attentions.Establish(UnitAttention.CommandsCleared);
        });
        await ended;
    }

    /// <summary>
    /// Logical unit reset (SAM-5, 6.3.3): every task ends, mode parameters go back to what is saved, nobody holds the medium, and every
    /// nexus has a unit attention.
    /// </summary>
    internal async ValueTask ResetAsync(UnitAttention condition)
    {
        lock (gate)
        {
            foreach (var itl in nexuses)
                itl.Copies.Clear();
        }

        var (_, ended) = tasks.Abort(null, null);
        await ended;
        lock (gate)
        {
            ChangeMode(SavedOrDefaultMode);
            power = PowerCondition.Active;
            foreach (var itl in nexuses)
            {
                LetGo(itl);
                itl.Attentions.Establish(condition);
            }
        }
    }

    /// <summary>The I_T nexus reset's part here: what the nexus held is let go, its tasks end, and it has a unit attention.</summary>
    internal async ValueTask ResetNexusAsync(ItlNexus itl)
    {
        itl.Copies.Clear();
        var (_, ended) = tasks.Abort(itl, null);
        lock (gate)
            LetGo(itl);
        await ended;
        itl.Attentions.Establish(UnitAttention.NexusLoss);
    }

    internal bool HasTask(ItlNexus itl, ulong? tag) => tasks.Contains(itl, tag);

    internal void SetPreventsRemoval(ItlNexus itl, bool prevents)
    {
        lock (gate)
            itl.PreventsRemoval = prevents;
    }

    /// <summary>Takes the medium out; false where a nexus holds it.</summary>
    internal bool TryEjectMedium()
    {
        lock (gate)
        {
            if (HoldsMedium())
                return false;
            isMediumPresent = false;
            Tokens.RevokeAll();
            return true;
        }
    }

    /// <summary>
    /// Puts the medium back in; other nexuses learn it by unit attention. False where it is out and a nexus has locked the door, which then
    /// lets nothing in either.
    /// </summary>
    internal bool TryLoadMedium(ItlNexus requester)
    {
        lock (gate)
        {
            if (isMediumPresent)
                return true;
            if (HoldsMedium())
                return false;
            isMediumPresent = true;
            EstablishForOthers(requester, UnitAttention.MediumMayHaveChanged);
            return true;
        }
    }

    /// <summary>
    /// The checks that are the same for every command, in the order in which SPC-5 and SAM-5 report them, and then the command itself.
    /// </summary>
    private ValueTask Dispatch(ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        if (command.Task.IsAbortRequested)
            return default;
        return isHandlerFirst && command.Transfer is null
            ? Handle(itl, command, entry)
            : DispatchChecked(itl, command, entry, isHandled: handler is null || command.Transfer is not null);
    }

    /// <param name="isHandled">There is no handler that would have to be asked.</param>
    private ValueTask DispatchChecked(ItlNexus itl, ScsiCommand command, CommandEntry? entry, bool isHandled)
    {
        var cdb = command.Cdb;

        // RESERVATION CONFLICT goes before any CHECK CONDITION, unit attentions included (SAM-5, 5.3.3).
        var access = itl.Access;
        if (access != ReservationAccess.Unrestricted && entry is not null && !entry.IsAllowedUnder(access, cdb))
        {
            command.Status = ScsiStatus.ReservationConflict;
            return default;
        }

        var ignoresAttention = entry is not null && (entry.Traits & CommandTraits.IgnoresUnitAttention) != 0;
        if (!ignoresAttention && !itl.Attentions.IsEmpty && itl.Attentions.TryTake(out var condition))
        {
            itl.OnReported(condition);
            command.Fail(UnitAttentionSet.Sense(condition));
            return default;
        }

        if (itl.PortAccess >= PortAccess.Standby && entry is not null && !entry.IsAllowedIn(itl.PortAccess))
        {
            command.Fail(SenseCodes.OfPortAccess(itl.PortAccess));
            return default;
        }

        if (entry is null)
        {
            if (!isHandled)
                return DispatchUnknown(itl, command);
            FailUnknown(command);
            return default;
        }

        if (cdb.Length < entry.CdbLength)
        {
            command.Fail(SenseCodes.InvalidFieldInCdb);
            return default;
        }

        // Whatever else is wrong with a command: beside an erasure it is not carried out, and told why (SBC-4, 4.11.2).
        if (IsHeldUp(entry, command))
            return default;

        if (entry.TryFindReservedBit(cdb, out var fieldByte, out var fieldBit))
        {
            command.FailCdb(fieldByte, fieldBit);
            return default;
        }

        if ((entry.Traits & CommandTraits.Medium) != 0 && !isMediumPresent)
        {
            command.Fail(SenseCodes.MediumNotPresent);
            return default;
        }

        if (power != PowerCondition.Active && (entry.Traits & (CommandTraits.Medium | CommandTraits.LeavesPowerCondition)) == CommandTraits.Medium)
            power = PowerCondition.Active;
        if ((entry.Traits & CommandTraits.Writes) != 0 && IsWriteProtected)
        {
            var isHard = Options.IsReadOnly || Device.Geometry.IsReadOnly;
            command.Fail(isHard ? SenseCodes.WriteProtected : SenseCodes.SoftwareWriteProtected);
            return default;
        }

        if ((entry.Traits & CommandTraits.Writes) != 0)
            Tokens.OnWrite(command, Device.Geometry);
        return isHandled ? entry.Handler(itl, command) : Handle(itl, command, entry);
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask LeaveWhenDoneAsync(ValueTask work, ScsiCommand command)
    {
        try
        {
            await work;
        }
        finally
        {
            tasks.Leave(command.Task);
        }
    }

    [AsyncMethodBuilder(typeof(PoolingAsyncValueTaskMethodBuilder))]
    private async ValueTask RunWhenEnabledAsync(ValueTask enabled, ItlNexus itl, ScsiCommand command, CommandEntry? entry)
    {
        try
        {
            await enabled;
            await Dispatch(itl, command, entry);
        }
        finally
        {
            tasks.Leave(command.Task);
        }
    }

    private CommandEntry? Find(ReadOnlySpan<byte> cdb)
    {
        if (cdb.IsEmpty)
            return null;
        return commands.TryFind(cdb[0], cdb.Length > 1 ? cdb[1] & ServiceActionMask : 0, out var entry) && entry.IsOffered(this) ? entry : null;
    }

    private bool HoldsMedium()
    {
        foreach (var itl in nexuses)
        {
            if (itl.PreventsRemoval)
                return true;
        }

        return false;
    }

    /// <summary>What a nexus held ends with the nexus and with every kind of reset.</summary>
    private void LetGo(ItlNexus itl)
    {
        itl.PreventsRemoval = false;
        if (reserver != itl)
            return;
        reserver = null;
        UpdateAccess();
    }

    private void EstablishForOthers(ItlNexus requester, UnitAttention condition)
    {
        foreach (var itl in nexuses)
        {
            if (itl != requester)
                itl.Attentions.Establish(condition);
        }
    }

    private void OnGeometryChanged(BlockDevice device)
    {
        Tokens.RevokeAll();
        lock (gate)
        {
            commands = FindTable();
            foreach (var itl in nexuses)
                itl.Attentions.Establish(UnitAttention.CapacityDataHasChanged);
        }
    }
}
