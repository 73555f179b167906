namespace CowScsi.VhostUser.Messages;

/// <summary>The front end broke the protocol: one line that says how. Its connection is closed; the server goes on.</summary>
internal sealed class FrontEndException(string message) : Exception(message);
