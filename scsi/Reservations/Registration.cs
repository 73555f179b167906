namespace CowScsi.Scsi;

/// <summary>
/// What an I_T nexus is recognized by when it comes back: the names of both ports, in lower case, since iSCSI names compare without
/// regard to case (RFC 7143, 4.2.7.1), and the ISID in its full width.
/// </summary>
internal sealed record NexusName(string InitiatorPort, string TargetPort)
{
    public static NexusName Of(string initiatorPort, string targetPort) =>
        new(TransportId.PortNameOf(initiatorPort), targetPort.ToLowerInvariant());
}

/// <summary>A registered I_T nexus with its reservation key, which is not 0 (SPC-5, 5.14.7).</summary>
internal sealed record Registration(NexusName Nexus, ushort RelativePortId, ulong Key);

/// <summary>A target port, as a registration names it.</summary>
internal readonly record struct TargetPortName(string Name, ushort RelativePortId);
