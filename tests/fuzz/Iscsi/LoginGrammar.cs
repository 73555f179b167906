using System.Buffers.Binary;
using System.Text;
using CowScsi.Iscsi.Pdu;

namespace CowScsi.Tests.Fuzz;

/// <summary>Draws logins: right ones with all sorts of keys, and ones that are wrong in their keys, stages, flags and lengths.</summary>
internal sealed class LoginGrammar(Random random, string target, string guardedTarget)
{
    private const int AnswerMicroseconds = 2_000_000;
    private const int NoAnswerMicroseconds = 2000;

    private static readonly string[] Names =
    [
        "HeaderDigest", "DataDigest", "MaxConnections", "InitialR2T", "ImmediateData", "MaxRecvDataSegmentLength", "MaxBurstLength", "FirstBurstLength",
        "DefaultTime2Wait", "DefaultTime2Retain", "MaxOutstandingR2T", "DataPDUInOrder", "DataSequenceInOrder", "ErrorRecoveryLevel", "iSCSIProtocolLevel",
        "TaskReporting", "IFMarker", "OFMarkInt", "InitiatorAlias", "TargetAlias", "SessionType", "TargetName", "InitiatorName", "AuthMethod", "CHAP_A",
        "CHAP_N", "CHAP_R", "CHAP_I", "CHAP_C", "SendTargets", "X-com.example.key", "TargetPortalGroupTag",
    ];

    private static readonly string[] Values =
    [
        "", "0", "1", "2", "8", "512", "4096", "65536", "16777215", "16777216", "4294967295", "4294967296", "-1", "0x200", "0xFFFFFFFFF", "Yes", "No", "None", "CRC32C", "CRC32C,None",
        "None,CHAP", "CHAP", "KRB5", "Reject", "Irrelevant", "NotUnderstood", "Normal", "Discovery", "5", "7,5", "8", "0x", "0b", "0x00ff", "0bAAAA", "0b!", "iqn.2026-01.test:x",
        "RFC3720", "FastAbort", ",", ",,", "ü", "\u0001", "a=b",
    ];

    /// <summary>Random key=value pairs, some of them not of that form.</summary>
    public static string Keys(Random random, string[] first)
    {
        var text = new StringBuilder();
        foreach (var pair in first)
            text.Append(pair).Append(random.Next(40) == 0 ? "" : "\0");
        for (var left = random.Next(5); left > 0; left--)
        {
            text.Append(Names[random.Next(Names.Length)]).Append(random.Next(30) == 0 ? "" : "=").Append(Values[random.Next(Values.Length)]);
            if (random.Next(50) == 0)
                text.Append('v', random.Next(9000));
            text.Append(random.Next(40) == 0 ? "" : "\0");
        }

        return text.ToString();
    }

    /// <summary>Logs a connection in as it should be done; the target must take it.</summary>
    public void LogIn(HostileConnection connection)
    {
        var isJoining = connection.Session.Tsih != 0;
        var (headerDigest, dataDigest) = (random.Next(4) == 0, random.Next(4) == 0);
        connection.Offer(headerDigest, dataDigest);
        var segment = 512 << random.Next(9);
        List<string> keys =
        [
            "InitiatorName=iqn.2026-01.test.fuzz:hostile", "TargetName=" + target, "SessionType=Normal", "HeaderDigest=" + (headerDigest ? "CRC32C" : "None"),
            "DataDigest=" + (dataDigest ? "CRC32C,None" : "None"), $"MaxRecvDataSegmentLength={segment}",
        ];
        if (!isJoining)
        {
            keys.AddRange(
            [
                "MaxConnections=4", "InitialR2T=" + (random.Next(2) == 0 ? "Yes" : "No"), "ImmediateData=" + (random.Next(3) == 0 ? "No" : "Yes"),
                $"MaxBurstLength={512 << random.Next(9)}", $"FirstBurstLength={512 << random.Next(6)}", $"MaxOutstandingR2T={random.Next(1, 6)}",
            ]);
        }

        connection.Send(Request(connection, 0x87, string.Concat(keys.Select(static key => key + "\0"))));
        connection.Receive(AnswerMicroseconds);
        // Behind a flood of its own a login may lose its place, and a session that ends has none to join.
        if (connection.IsLoggedIn)
            connection.DataBytesMax = segment;
    }

    /// <summary>A login that goes wrong somewhere, as a rule.</summary>
    public void Disturb(HostileConnection connection)
    {
        connection.Offer(headerDigest: false, dataDigest: false);
        for (var left = random.Next(1, 6); left > 0 && !connection.IsEnded && !connection.IsLoggedIn; left--)
        {
            var flags = random.Next(3) == 0 ? (byte)random.Next(256) : (byte)(random.Next(2) == 0 ? 0x00 : 0x04 | (random.Next(3) == 0 ? 0x40 : 0));
            string[] names = random.Next(4) == 0
                ? []
                : ["InitiatorName=iqn.2026-01.test.fuzz:hostile", random.Next(3) == 0 ? "SessionType=Discovery" : "TargetName=" + (random.Next(2) == 0 ? target : guardedTarget)];
            if (random.Next(2) == 0)
                names = [.. names, "AuthMethod=CHAP,None"];
            if (random.Next(3) == 0)
                names = [.. names, "CHAP_A=7,5"];
            var wire = Request(connection, flags, Keys(random, names));
            if (random.Next(8) == 0)
                wire[random.Next(PduField.HeaderBytes)] ^= (byte)(1 << random.Next(8));
            connection.Send(random.Next(30) == 0 ? wire.AsSpan(0, random.Next(wire.Length)) : wire);
            connection.Receive(NoAnswerMicroseconds);
        }
    }

    private static byte[] Request(HostileConnection connection, byte flags, string text)
    {
        var data = Encoding.UTF8.GetBytes(text);
        var wire = new byte[PduField.HeaderBytes + data.Length + PduField.Padding(data.Length)];
        wire[0] = (byte)Opcode.LoginRequest | PduField.ImmediateBit;
        wire[1] = flags;
        (wire[5], wire[6], wire[7]) = ((byte)(data.Length >> 16), (byte)(data.Length >> 8), (byte)data.Length);
        wire[8] = 0x80;
        wire[13] = connection.Session.Isid;
        BinaryPrimitives.WriteUInt16BigEndian(wire.AsSpan(PduField.Tsih), connection.Session.Tsih);
        BinaryPrimitives.WriteUInt16BigEndian(wire.AsSpan(PduField.ConnectionId), connection.ConnectionId);
        BinaryPrimitives.WriteUInt32BigEndian(wire.AsSpan(PduField.CmdSN), connection.Session.CmdSN);
        data.CopyTo(wire, PduField.HeaderBytes);
        return wire;
    }
}
