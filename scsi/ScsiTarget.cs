using System.Text;

namespace CowScsi.Scsi;

/// <summary>Task management functions of SAM-5, clause 7.</summary>
public enum TaskManagementFunction : byte
{
    AbortTask = 1,
    AbortTaskSet = 2,
    ClearTaskSet = 3,
    LogicalUnitReset = 4,
    ITNexusReset = 5,
    QueryTask = 6,
    QueryTaskSet = 7,
    TargetReset = 8,
    ClearAca = 9,
}

/// <summary>Service responses of SAM-5, clause 7.</summary>
public enum TaskManagementResponse : byte
{
    FunctionComplete = 1,
    FunctionSucceeded = 2,
    FunctionRejected = 3,
    IncorrectLogicalUnit = 4,
    TaskDoesNotExist = 5,
}

/// <summary>
/// A SCSI target device: a LUN map and what belongs to no single logical unit (REPORT LUNS, INQUIRY to an absent LUN, resets). It knows
/// no socket, thread, file or clock. Every member may be called from any thread.
/// </summary>
/// <remarks>One lock guards the LUN map and the list of nexuses; the path of a command does not take it.</remarks>
public sealed class ScsiTarget
{
    /// <summary>Longest SCSI name of a port: a designator of VPD page 83h holds 255 bytes, with null and padding.</summary>
    public const int PortNameBytesMax = 251;

    /// <summary>The port group unless another is chosen.</summary>
    public const ushort DefaultPortGroupId = 1;

    /// <summary>What stands between the names of an iSCSI target device and of its port (RFC 7143, 4.4.2).</summary>
    private const string PortSuffix = ",t,0x";

    private readonly Lock gate = new();
    private readonly List<Nexus> nexuses = [];
    private readonly byte[] portNameBytes;
    private volatile KeyValuePair<int, LogicalUnit>[] luns = [];

    /// <param name="portName">SCSI name of the target port (for iSCSI: TargetName,t,0x0001), up to 251 bytes of UTF-8.</param>
    /// <param name="relativePortId">Relative target port identifier, 1 or more.</param>
    /// <param name="copies">The targets that this one copies to and from; null where it keeps to itself.</param>
    public ScsiTarget(string portName, ushort relativePortId = 1, CopyDomain? copies = null)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(portName);
        ArgumentOutOfRangeException.ThrowIfZero(relativePortId);
        portNameBytes = Encoding.UTF8.GetBytes(portName);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(portNameBytes.Length, PortNameBytesMax, nameof(portName));
        PortName = portName;
        RelativePortId = relativePortId;
        var suffix = portName.LastIndexOf(PortSuffix, StringComparison.Ordinal);
        IsIscsi = suffix > 0;
        DeviceName = suffix > 0 ? portName[..suffix] : portName;
        DeviceNameBytes = Encoding.UTF8.GetBytes(DeviceName);
        Copies = copies ?? new CopyDomain();
        Copies.Add(this);
    }

    /// <summary>
    /// Raised after a logical unit was mapped (true) or unmapped (false) under a number, on the thread that changed the map; handlers
    /// return at once. For transports that tell their initiators without being asked.
    /// </summary>
    public event Action<ScsiTarget, int, LogicalUnit, bool>? LunChanged;

    public string PortName { get; }

    public ushort RelativePortId { get; }

    /// <summary>The target port group (SPC-5, 5.18) that this port is in: ports of one group share their access state at each logical unit.</summary>
    public ushort PortGroupId { get; init; } = DefaultPortGroupId;

    /// <summary>The LUN map at this moment, ascending by number.</summary>
    public IReadOnlyList<KeyValuePair<int, LogicalUnit>> Luns => luns;

    /// <summary>The SCSI name of the target device: what the names of its ports have in common (for iSCSI, TargetName).</summary>
    internal string DeviceName { get; }

    internal CopyDomain Copies { get; }

    internal ReadOnlySpan<byte> PortNameBytes => portNameBytes;

    internal byte[] DeviceNameBytes { get; }

    /// <summary>Whether the port's name is that of an iSCSI port, and its protocol iSCSI.</summary>
    internal bool IsIscsi { get; }

    /// <summary>Maps a logical unit; false where the number (0 to 16383) is taken. Nexuses are told by unit attention 3F/0E.</summary>
    public bool TryAddLun(int lun, LogicalUnit unit)
    {
        ArgumentNullException.ThrowIfNull(unit);
        ArgumentOutOfRangeException.ThrowIfNegative(lun);
        ArgumentOutOfRangeException.ThrowIfGreaterThanOrEqual(lun, ScsiLun.Count);
        lock (gate)
        {
            var at = IndexOf(lun);
            if (at >= 0)
                return false;
            luns = [.. luns.AsSpan(0, ~at), new(lun, unit), .. luns.AsSpan(~at)];
            unit.AddPort(this);
            foreach (var nexus in nexuses)
                Connect(nexus, lun, unit);
            EstablishLunsChange();
        }

        LunChanged?.Invoke(this, lun, unit, true);
        return true;
    }

    /// <summary>
    /// Unmaps a logical unit; false where there was none. Its tasks run on to their end (<see cref="LogicalUnit.CloseAsync"/> waits for
    /// them); new commands find no logical unit.
    /// </summary>
    public bool RemoveLun(int lun)
    {
        LogicalUnit removed;
        lock (gate)
        {
            var at = IndexOf(lun);
            if (at < 0)
                return false;
            removed = luns[at].Value;
            removed.RemovePort(this);
            luns = [.. luns.AsSpan(0, at), .. luns.AsSpan(at + 1)];
            foreach (var nexus in nexuses)
            {
                if (nexus.Find(lun) is not { } itl)
                    continue;
                nexus.Set(lun, null);
                itl.Unit.Detach(itl);
                nexus.Unmapped.RemoveAll(old => !old.Unit.HasTask(old, null));
                nexus.Unmapped.Add(itl);
            }

            EstablishLunsChange();
        }

        LunChanged?.Invoke(this, lun, removed, false);
        return true;
    }

    /// <summary>Begins an I_T nexus. Every logical unit has a power-on unit attention for it.</summary>
    /// <param name="initiatorPortName">SCSI name of the initiator port, up to 251 bytes of UTF-8: what reservations recognize it by.</param>
    public Nexus CreateNexus(string initiatorPortName)
    {
        ArgumentException.ThrowIfNullOrWhiteSpace(initiatorPortName);
        ArgumentOutOfRangeException.ThrowIfGreaterThan(Encoding.UTF8.GetByteCount(initiatorPortName), PortNameBytesMax, nameof(initiatorPortName));
        var nexus = new Nexus(this, initiatorPortName);
        lock (gate)
        {
            nexuses.Add(nexus);
            foreach (var (lun, unit) in luns)
                Connect(nexus, lun, unit);
        }

        return nexus;
    }

    /// <summary>
    /// Ends an I_T nexus (SAM-5, 6.3.4): completes when all its tasks have ended, which then carry IsAborted. A command that comes later
    /// ends at once with IsAborted.
    /// </summary>
    public async ValueTask RemoveNexusAsync(Nexus nexus)
    {
        ArgumentNullException.ThrowIfNull(nexus);
        ItlNexus?[] units;
        lock (gate)
        {
            if (!nexuses.Remove(nexus))
                return;
            foreach (var itl in nexus.Units)
                itl?.Unit.Detach(itl);
            units = [.. nexus.Units, .. nexus.Unmapped];
            nexus.Unmapped.Clear();
        }

        foreach (var itl in units)
        {
            if (itl is not null)
                await itl.Unit.AbortAsync(itl, null);
        }
    }

    /// <summary>
    /// Carries out one command. The command and its buffers belong to the target until the task completes, exactly once; it completes
    /// before the method returns where nothing has to wait and may not be done elsewhere (<see cref="ScsiCommand.MayOffload"/>).
    /// </summary>
    public ValueTask ExecuteAsync(Nexus nexus, ScsiCommand command)
    {
        ArgumentNullException.ThrowIfNull(nexus);
        ArgumentNullException.ThrowIfNull(command);
        if (ScsiLun.TryGetNumber(command.Lun, out var number) && nexus.Find(number) is { } itl)
            return itl.Unit.ExecuteAsync(itl, command);
        UnmappedLun.Execute(nexus, command);
        return default;
    }

    /// <summary>
    /// Carries out a task management function. When it completes, every command it affected has ended: its buffers are not touched
    /// again, and <see cref="ScsiCommand.IsAborted"/> is set.
    /// </summary>
    /// <param name="lun">LUN bytes; unused for the I_T nexus reset and the target reset.</param>
    /// <param name="tag">The referenced task's tag; for abort task and query task only.</param>
    /// <returns>
    /// For the queries, function succeeded where there is such a task, else function complete. Task does not exist is the answer to an
    /// abort of a task that is not there: it has ended already, or never arrived.
    /// </returns>
    public async ValueTask<TaskManagementResponse> ManageAsync(Nexus nexus, TaskManagementFunction function, ulong lun, ulong tag)
    {
        ArgumentNullException.ThrowIfNull(nexus);
        switch (function)
        {
            case TaskManagementFunction.ITNexusReset:
                foreach (var each in nexus.Units.ToArray())
                {
                    if (each is not null)
                        await each.Unit.ResetNexusAsync(each);
                }

                return TaskManagementResponse.FunctionComplete;
            case TaskManagementFunction.TargetReset:
                foreach (var (_, unit) in luns)
                    await unit.ResetAsync(UnitAttention.ScsiBusReset);
                return TaskManagementResponse.FunctionComplete;
            case TaskManagementFunction.ClearAca:
                // There is no ACA: NACA is refused.
                return TaskManagementResponse.FunctionRejected;
            default:
                if (!ScsiLun.TryGetNumber(lun, out var number) || nexus.Find(number) is not { } itl)
                    return TaskManagementResponse.IncorrectLogicalUnit;
                return await ManageUnitAsync(itl, function, tag);
        }
    }

    /// <summary>Adds the nexuses that an initiator device has here at the moment.</summary>
    internal void AddNexusesOf(string initiatorDeviceName, List<Nexus> found)
    {
        lock (gate)
        {
            foreach (var nexus in nexuses)
            {
                if (string.Equals(nexus.InitiatorDeviceName, initiatorDeviceName, StringComparison.Ordinal))
                    found.Add(nexus);
            }
        }
    }

    private static async ValueTask<TaskManagementResponse> ManageUnitAsync(ItlNexus itl, TaskManagementFunction function, ulong tag)
    {
        switch (function)
        {
            case TaskManagementFunction.AbortTask:
                return await itl.Unit.AbortAsync(itl, tag) > 0
                    ? TaskManagementResponse.FunctionComplete
                    : TaskManagementResponse.TaskDoesNotExist;
            case TaskManagementFunction.AbortTaskSet:
                await itl.Unit.AbortAsync(itl, null);
                return TaskManagementResponse.FunctionComplete;
            case TaskManagementFunction.ClearTaskSet:
                await itl.Unit.ClearTaskSetAsync(itl);
                return TaskManagementResponse.FunctionComplete;
            case TaskManagementFunction.LogicalUnitReset:
                await itl.Unit.ResetAsync(UnitAttention.BusDeviceReset);
                return TaskManagementResponse.FunctionComplete;
            case TaskManagementFunction.QueryTask:
                return Queried(itl.Unit.HasTask(itl, tag));
            case TaskManagementFunction.QueryTaskSet:
                return Queried(itl.Unit.HasTask(itl, null));
            default:
                return TaskManagementResponse.FunctionRejected;
        }
    }

    private static TaskManagementResponse Queried(bool isThere) =>
        isThere ? TaskManagementResponse.FunctionSucceeded : TaskManagementResponse.FunctionComplete;

    private static void Connect(Nexus nexus, int lun, LogicalUnit unit)
    {
        var itl = new ItlNexus(nexus, unit, lun);
        itl.Attentions.Establish(UnitAttention.PowerOnOrReset);
        unit.Attach(itl);
        nexus.Set(lun, itl);
    }

    private void EstablishLunsChange()
    {
        foreach (var nexus in nexuses)
        {
            foreach (var itl in nexus.Units)
                itl?.Attentions.Establish(UnitAttention.ReportedLunsDataHasChanged);
        }
    }

    /// <summary>Place of a LUN in the map, or the complement of where it would be.</summary>
    private int IndexOf(int lun)
    {
        var all = luns;
        var low = 0;
        var high = all.Length - 1;
        while (low <= high)
        {
            var middle = (low + high) >>> 1;
            if (all[middle].Key == lun)
                return middle;
            if (all[middle].Key < lun)
                low = middle + 1;
            else
                high = middle - 1;
        }

        return ~low;
    }
}
