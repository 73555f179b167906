namespace CowScsi.Tests.Property;

internal sealed partial class SimulatedWorld
{
    private void RunBackground(int amount) => _ = store.Store.Store.Log.Cut();

    private static void PassTime(int amount)
    {
    }
}
