namespace CowScsi.Tests.Fuzz;

/// <summary>All targets.</summary>
internal static class FuzzTargets
{
    public static IEnumerable<FuzzTarget> All() =>
    [
        new SuperblockTarget(), new SegmentTarget(), new BatchTarget(), new ReferenceTarget(), new CatalogTarget(), new CheckpointTarget(), new MapRecordTarget(), new ScrubStateTarget(),
        new DiskAttributesTarget(), new KeySlotsTarget(), new KeyFileTarget(), new Lz4Target(), new Qcow2Target(), new ExtentFrameTarget(), new ControlDocumentTarget(),
        new CommandTextTarget(), new IscsiTextTarget(), new TargetSettingsTarget(), new ReservationsTarget(), new TransportIdTarget(),
        new VhostMessagesTarget(), new VhostRingsTarget(),
    ];
}
