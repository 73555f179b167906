using System.Text;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Iscsi.Connections;

/// <summary>Text requests of the full feature phase: SendTargets, and declarations (RFC 7143, 11.10 and appendix C).</summary>
internal sealed partial class IscsiConnection
{
    /// <summary>The tag that links the parts of a long text response (RFC 7143, 11.11.4).</summary>
    private const uint TextTransferTag = 1;

    private byte[] textReceived = [];
    private byte[] textToSend = [];
    private int textSent;

    private void OnTextRequest(PduHeader pdu, ReadOnlySpan<byte> data)
    {
        if (pdu.TargetTransferTag != PduField.NoTag && textSent < textToSend.Length)
        {
            SendTextPart(pdu);
            return;
        }

        if (textReceived.Length + data.Length > LoginExchange.TextBytesMax)
        {
            textReceived = [];
            SendReject(RejectReason.OutOfResources, pdu.Bytes);
            return;
        }

        textReceived = [.. textReceived, .. data];
        textToSend = [];
        textSent = 0;
        if (pdu.IsContinued)
        {
            SendTextPart(pdu);
            return;
        }

        List<TextPair> pairs = [];
        var isText = TextKeys.TryParse(textReceived, pairs);
        textReceived = [];
        if (!isText)
        {
            SendReject(RejectReason.ProtocolError, pdu.Bytes);
            return;
        }

        var answer = new StringBuilder();
        foreach (var pair in pairs)
            AnswerText(pair, answer);
        textToSend = Encoding.UTF8.GetBytes(answer.ToString());
        SendTextPart(pdu);
    }

    private void AnswerText(TextPair pair, StringBuilder answer)
    {
        if (pair.Key == "SendTargets")
        {
            // All is for discovery sessions; empty names the session's own target (RFC 7143, appendix C).
            var isAll = pair.Value == "All";
            var name = pair.Value.Length == 0 ? parameters.TargetName : IscsiName.Normalize(pair.Value);
            if (isAll && !parameters.IsDiscovery)
                TextKeys.Append(answer, pair.Key, KeyAnswer.Reject);
            else
                server.DescribeTargets(isAll ? null : name, session!, local, answer);
            return;
        }

        if (LoginKey.Find(pair.Key) is not { } key)
        {
            TextKeys.Append(answer, pair.Key, KeyAnswer.NotUnderstood);
            return;
        }

        var result = (key.Use & KeyUse.FullFeature) == 0 ? KeyAnswer.Reject : key.Negotiate(pair.Value, server.Offer, parameters);
        if (result is not null)
            TextKeys.Append(answer, pair.Key, result);
    }

    private void SendTextPart(PduHeader pdu)
    {
        var partMax = Math.Min(parameters.InitiatorDataBytesMax, SessionParameters.LoginDataBytesMax);
        var length = Math.Min(textToSend.Length - textSent, partMax);
        var hasMore = textSent + length < textToSend.Length;
        var awaitsMore = hasMore || pdu.IsContinued || !pdu.IsFinal;
        var flags = (byte)((awaitsMore ? 0 : PduField.FinalBit) | (hasMore ? PduField.ContinueBit : 0));
        var writer = OpenPdu(Opcode.TextResponse, flags, pdu.InitiatorTaskTag, length, out var answer);
        writer.Lun(pdu.Lun);
        writer.UInt32(PduField.TargetTransferTag, awaitsMore ? TextTransferTag : PduField.NoTag);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        textToSend.AsSpan(textSent, length).CopyTo(DataOf(answer, length));
        SealPdu(answer, length);
        textSent += length;
    }
}
