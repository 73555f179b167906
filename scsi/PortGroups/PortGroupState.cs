namespace CowScsi.Scsi;

/// <summary>Target port asymmetric access states (SPC-5, 5.18.2.4); the values are those of the ASYMMETRIC ACCESS STATE field.</summary>
internal enum PortAccess : byte
{
    ActiveOptimized = 0x0,
    ActiveNonOptimized = 0x1,
    Standby = 0x2,
    Unavailable = 0x3,
}

/// <summary>What changed a state last: STATUS CODE of REPORT TARGET PORT GROUPS (SPC-5, 6.37).</summary>
internal enum PortGroupCause : byte
{
    None = 0x00,
    SetTargetPortGroups = 0x01,
}

/// <summary>The state that the ports of a group have at one logical unit.</summary>
internal readonly record struct PortGroupState(PortAccess Access, PortGroupCause Cause)
{
    public static PortGroupState Initial => new(PortAccess.ActiveOptimized, PortGroupCause.None);
}

/// <summary>A state that a port group shall have.</summary>
internal readonly record struct PortGroupChange(ushort Group, PortAccess Access);
