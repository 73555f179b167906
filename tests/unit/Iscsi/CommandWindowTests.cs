using CowScsi.Iscsi.Sessions;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

public sealed class CommandWindowTests
{
    [Theory]
    [InlineData(0u)]
    [InlineData(0x7FFF_FFFEu)]
    [InlineData(0xFFFF_FFFEu)]
    public void TurnOf_FollowsSerialNumberArithmetic(uint first)
    {
        var window = new CommandWindow(first, 4);
        Assert.Equal(CommandTurn.Ignore, window.TurnOf(first - 1));
        Assert.Equal(CommandTurn.Now, window.TurnOf(first));
        Assert.Equal(CommandTurn.Later, window.TurnOf(first + 1));
        Assert.Equal(CommandTurn.Later, window.TurnOf(first + 3));
        Assert.Equal(CommandTurn.Ignore, window.TurnOf(first + 4));
        Assert.Equal(first + 3, window.MaxCmdSN);
    }

    [Fact]
    public void Window_ShrinksWhileCommandsAreOutstandingAndNeverGoesBack()
    {
        var window = new CommandWindow(10, 2);
        window.Deliver(isScsiCommand: true);
        window.Deliver(isScsiCommand: true);
        Assert.Equal(12u, window.ExpCmdSN);
        Assert.Equal(11u, window.MaxCmdSN);
        Assert.Equal(CommandTurn.Ignore, window.TurnOf(12));

        window.Complete();
        Assert.Equal(12u, window.MaxCmdSN);
        Assert.Equal(CommandTurn.Now, window.TurnOf(12));

        window.Deliver(isScsiCommand: false);
        Assert.Equal(13u, window.MaxCmdSN);
    }

    [Fact]
    public void Keep_ReturnsItemsInTheOrderOfTheirNumbers()
    {
        var window = new CommandWindow(uint.MaxValue, 4);
        window.Keep(0, "second");
        window.Keep(1, "third");
        Assert.Equal(CommandTurn.Ignore, window.TurnOf(1));
        Assert.Null(window.TakeDue());
        window.Deliver(isScsiCommand: false);
        Assert.Equal("second", window.TakeDue());
        window.Deliver(isScsiCommand: false);
        Assert.Equal("third", window.TakeDue());
        window.Deliver(isScsiCommand: false);
        Assert.Null(window.TakeDue());
    }
}
