namespace CowScsi.Vdisk.Passphrases;

/// <summary>
/// Keeps what is typed from being shown, until disposed of. Switching it off drops what was typed before, so that a passphrase typed ahead
/// of its prompt, and therefore shown, is never taken for one that was hidden.
/// </summary>
internal sealed class TerminalEcho : IDisposable
{
    private readonly byte[] before;
    private readonly int descriptor;
    private int isRestored;

    private TerminalEcho(int descriptor, byte[] before)
    {
        this.descriptor = descriptor;
        this.before = before;
    }

    public static TerminalEcho Off(int descriptor)
    {
        var before = NativeCalls.GetTerminal(descriptor) ?? throw new CommandException(ExitCode.Key, "cannot ask for a passphrase: no terminal");
        var without = (byte[])before.Clone();
        NativeCalls.ClearEcho(without);
        NativeCalls.SetTerminal(descriptor, without, dropInput: true);
        return new TerminalEcho(descriptor, before);
    }

    /// <summary>May be called from any thread, as a signal does while the prompt still waits.</summary>
    public void Dispose()
    {
        if (Interlocked.Exchange(ref isRestored, 1) == 0)
            NativeCalls.SetTerminal(descriptor, before, dropInput: false);
    }
}
