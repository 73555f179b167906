using System.Security.Cryptography;
using System.Text;
using CowScsi.Iscsi;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using Xunit;

namespace CowScsi.Tests.Unit.Iscsi;

/// <summary>CHAP over real sockets: RFC 7143, 12.1.3 and 9.2.1.</summary>
public sealed class ChapTests
{
    private const string Initiator = "InitiatorName=" + TestInitiator.Name;
    private const string Target = "TargetName=" + TestTarget.Name;
    private const int Refused = (int)LoginStatus.AuthenticationFailure;

    private static readonly IscsiAccess Alice = new() { Users = [new IscsiChapUser("alice", "alices-secret")] };

    private static readonly IscsiAccess Mutual = Alice with { Mutual = new IscsiChapCredentials("disk", "the-disks-secret") };

    // Offered, chosen, mutual. 6 is SHA-1, which is not taken; 8 is SHA3-256, which depends on the machine's OpenSSL.
    public static TheoryData<string, string, bool> Algorithms()
    {
        var data = new TheoryData<string, string, bool>
        {
            { "5", "5", false },
            { "7", "7", false },
            { "6,5", "5", false },
            { "99,7,5", "7", false },
            { "5", "5", true },
            { "7,5", "7", true },
            { "8,5", SHA3_256.IsSupported ? "8" : "5", false },
            { "8,5", SHA3_256.IsSupported ? "8" : "5", true },
        };
        return data;
    }

    [Theory]
    [MemberData(nameof(Algorithms))]
    public async Task RightSecrets_LogIn(string offered, string chosen, bool isMutual)
    {
        await using var target = new TestTarget(null, Mutual);
        using var initiator = target.Connect();
        var result = Chap(initiator, offered, "alice", "alices-secret", isMutual ? "the-disks-secret" : null, out var algorithm);
        Assert.Equal(0, TestInitiator.StatusOf(result));
        Assert.Equal(chosen, algorithm);
        initiator.ExchangeLogin(0x87);
        initiator.ClearUnitAttentions();
        Assert.Equal("alice", Assert.Single(target.Server.Sessions).User);
    }

    [Theory]
    [InlineData("5", "alice", "wrong-secret-1")]
    [InlineData("5", "bob", "alices-secret")]
    [InlineData("7", "alice", "")]
    [InlineData("6", "alice", "alices-secret")]
    [InlineData("99", "alice", "alices-secret")]
    public async Task WrongAnswers_AreRefused(string algorithms, string user, string secret)
    {
        await using var target = new TestTarget(null, Alice);
        using var initiator = target.Connect();
        Assert.Equal(Refused, TestInitiator.StatusOf(Chap(initiator, algorithms, user, secret, null, out _)));
        Assert.Empty(initiator.ReceiveToEnd());
        Assert.DoesNotContain(target.Lines, static line => line.Contains("secret", StringComparison.Ordinal));
    }

    [Fact]
    public async Task EachUser_HasItsOwnSecret()
    {
        var access = new IscsiAccess { Users = [new("alice", "alices-secret"), new("bob", "secret-of-bob")] };
        await using var target = new TestTarget(null, access);
        foreach (var (user, secret, status) in new[]
        {
            ("alice", "alices-secret", 0), ("bob", "secret-of-bob", 0), ("bob", "alices-secret", Refused), ("alice", "secret-of-bob", Refused),
        })
        {
            using var initiator = target.Connect();
            Assert.Equal(status, TestInitiator.StatusOf(Chap(initiator, "5", user, secret, null, out _)));
        }
    }

    [Fact]
    public async Task Mutual_IsRefusedWhereTheTargetHasNoSecret()
    {
        await using var target = new TestTarget(null, Alice);
        using var initiator = target.Connect();
        Assert.Equal(Refused, TestInitiator.StatusOf(Chap(initiator, "5", "alice", "alices-secret", "the-disks-secret", out _)));
    }

    [Fact]
    public async Task Authentication_CannotBeSkipped()
    {
        await using var target = new TestTarget(null, Mutual);
        using (var skipping = target.Connect())
            Assert.Equal(Refused, TestInitiator.StatusOf(skipping.ExchangeLogin(0x87, Initiator, Target)));
        using (var unwilling = target.Connect())
            Assert.Equal(Refused, TestInitiator.StatusOf(unwilling.ExchangeLogin(0x81, Initiator, Target, "AuthMethod=None")));
        using (var silent = target.Connect())
        {
            // Asks for the next stage without ever naming a method: it stays where it is, and cannot go on from there.
            var answer = silent.ExchangeLogin(0x81, Initiator, Target);
            Assert.Equal(0x00, answer.Flags);
            Assert.Equal((int)LoginStatus.InvalidDuringLogin, TestInitiator.StatusOf(silent.ExchangeLogin(0x87)));
        }

        using var answering = target.Connect();
        answering.ExchangeLogin(0x00, Initiator, Target, "AuthMethod=CHAP");
        Assert.Equal(Refused, TestInitiator.StatusOf(answering.ExchangeLogin(0x81, "CHAP_N=alice", "CHAP_R=0x00")));
    }

    [Fact]
    public async Task Challenge_IsNotAnsweredToItsOwnSender()
    {
        await using var target = new TestTarget(null, Mutual);
        using var reflecting = target.Connect();
        reflecting.ExchangeLogin(0x00, Initiator, Target, "AuthMethod=CHAP");
        var challenge = TestInitiator.Pairs(reflecting.ExchangeLogin(0x00, "CHAP_A=5").Data);
        var response = Respond("5", byte.Parse(challenge["CHAP_I"]), "alices-secret", Convert.FromHexString(challenge["CHAP_C"][2..]));
        var reflected = reflecting.ExchangeLogin(
            0x81, "CHAP_N=alice", "CHAP_R=0x" + Convert.ToHexString(response), "CHAP_I=" + challenge["CHAP_I"],
            "CHAP_C=" + challenge["CHAP_C"]);
        Assert.Equal(Refused, TestInitiator.StatusOf(reflected));
        Assert.Empty(reflected.Data);
    }

    [Fact]
    public async Task Challenge_IsAnsweredOnlyToAProvedInitiator()
    {
        await using var target = new TestTarget(null, Mutual);
        using var initiator = target.Connect();
        var answer = Chap(initiator, "5", "alice", "wrong-secret-1", "the-disks-secret", out _);
        Assert.Equal(Refused, TestInitiator.StatusOf(answer));
        Assert.Empty(answer.Data);
    }

    [Fact]
    public async Task Challenges_AreNeverTheSame()
    {
        await using var target = new TestTarget(null, Alice);
        HashSet<string> seen = [];
        for (var i = 0; i < 20; i++)
        {
            using var initiator = target.Connect();
            initiator.ExchangeLogin(0x00, Initiator, Target, "AuthMethod=CHAP");
            Assert.True(seen.Add(TestInitiator.Pairs(initiator.ExchangeLogin(0x00, "CHAP_A=5").Data)["CHAP_C"]));
        }
    }

    [Theory]
    [InlineData("CHAP_C=0x", "CHAP_I=1")]
    [InlineData("CHAP_C=0xZZ", "CHAP_I=1")]
    [InlineData("CHAP_C=12", "CHAP_I=1")]
    [InlineData("CHAP_C=0x0102", "CHAP_I=256")]
    [InlineData("CHAP_C=0x0102", "CHAP_I=x")]
    [InlineData("CHAP_C=0x0102", "CHAP_X=1")]
    [InlineData("CHAP_X=0x0102", "CHAP_I=1")]
    public async Task MalformedChallenge_IsRefused(string challenge, string identifier)
    {
        await using var target = new TestTarget(null, Mutual);
        using var initiator = target.Connect();
        var ours = Begin(initiator, "5");
        var response = Respond("5", byte.Parse(ours["CHAP_I"]), "alices-secret", Convert.FromHexString(ours["CHAP_C"][2..]));
        var answer = initiator.ExchangeLogin(0x81, "CHAP_N=alice", "CHAP_R=0x" + Convert.ToHexString(response), challenge, identifier);
        Assert.NotEqual(0, TestInitiator.StatusOf(answer));
    }

    [Theory]
    [InlineData(1)]
    [InlineData(1024)]
    [InlineData(1025)]
    public async Task ChallengeLength_IsBounded(int bytes)
    {
        await using var target = new TestTarget(null, Mutual);
        using var initiator = target.Connect();
        var ours = Begin(initiator, "5");
        var response = Respond("5", byte.Parse(ours["CHAP_I"]), "alices-secret", Convert.FromHexString(ours["CHAP_C"][2..]));
        var theirs = TestInitiator.Pattern(bytes, 3);
        var answer = initiator.ExchangeLogin(
            0x81, "CHAP_N=alice", "CHAP_R=0b" + Convert.ToBase64String(response), "CHAP_I=0x10", "CHAP_C=0x" + Convert.ToHexString(theirs));
        Assert.Equal(bytes <= 1024, TestInitiator.StatusOf(answer) == 0);
        if (bytes <= 1024)
            Assert.Equal(Convert.ToHexStringLower(Respond("5", 16, "the-disks-secret", theirs)), TestInitiator.Pairs(answer.Data)["CHAP_R"][2..]);
    }

    [Fact]
    public async Task SessionOfAUser_LastsAsLongAsTheUserHasThatSecret()
    {
        await using var target = new TestTarget(null, Alice);
        using var initiator = target.Connect();
        Chap(initiator, "7", "alice", "alices-secret", null, out _);
        initiator.ExchangeLogin(0x87);
        initiator.ClearUnitAttentions();

        await target.Server.SetAccessAsync(TestTarget.Name, new IscsiAccess { Users = [new("bob", "secret-of-bob"), new("alice", "alices-secret")] });
        initiator.ClearUnitAttentions();
        var gone = Task.Run(initiator.ReceiveToEndAndClose);
        await target.Server.SetAccessAsync(TestTarget.Name, new IscsiAccess { Users = [new("alice", "another-secret")] });
        Assert.Equal([Opcode.AsyncMessage], await gone);
        Assert.Equal(0, target.Server.SessionCount);
    }

    [Fact]
    public async Task Discovery_IsGuardedByItsOwnUsers()
    {
        await using var target = new TestTarget();
        await target.Server.SetDiscoveryAccessAsync(new IscsiAccess { Users = [new("finder", "discoverer-1")] });
        using var refused = target.Connect();
        Assert.Equal(Refused, TestInitiator.StatusOf(refused.ExchangeLogin(0x87, Initiator, "SessionType=Discovery")));

        using var initiator = target.Connect();
        var answer = Chap(initiator, "7", "finder", "discoverer-1", null, out _, "SessionType=Discovery");
        Assert.Equal(0, TestInitiator.StatusOf(answer));
        Assert.Equal(0x87, initiator.ExchangeLogin(0x87).Flags);
        var session = Assert.Single(target.Server.Sessions);
        Assert.Null(session.TargetName);
        Assert.Equal("finder", session.User);
        using var normal = target.Login();
    }

    [Fact]
    public void Rules_ThatContradictThemselvesAreRefused()
    {
        Assert.Throws<ArgumentException>(() => new IscsiAccess { Users = [new("alice", "short")] }.Validate());
        new IscsiAccess { Users = [new("alice", "short")], AllowShortSecrets = true }.Validate();
        // Twelve bytes, though fewer characters.
        new IscsiAccess { Users = [new("alice", "ääääää")] }.Validate();
        Assert.Throws<ArgumentException>(() => (Alice with { Mutual = new("disk", "short") }).Validate());
        Assert.Throws<ArgumentException>(() => (Alice with { Mutual = new("disk", "alices-secret"), AllowShortSecrets = true }).Validate());
        Assert.Throws<ArgumentException>(() => new IscsiAccess { Mutual = new("disk", "the-disks-secret") }.Validate());
        Assert.Throws<ArgumentException>(() => new IscsiAccess { Users = [new("a", "alices-secret"), new("a", "another-secret")] }.Validate());
        Assert.Throws<ArgumentException>(() => new IscsiChapUser("", "alices-secret"));
        Assert.Throws<ArgumentException>(() => new IscsiChapUser("a\nb", "alices-secret"));
        Assert.Throws<ArgumentException>(() => new IscsiChapUser("alice", new string('x', 256)));
    }

    [Fact]
    public void Secrets_AreInNoText()
    {
        foreach (var text in new[] { Mutual.ToString(), Mutual.Users[0].ToString(), Mutual.Mutual!.ToString() })
            Assert.DoesNotContain("secret", text, StringComparison.Ordinal);
        var error = Assert.Throws<ArgumentException>(() => new IscsiAccess { Users = [new("alice", "short")] }.Validate());
        Assert.DoesNotContain("short", error.Message, StringComparison.Ordinal);
    }

    private static Dictionary<string, string> Begin(TestInitiator initiator, string algorithms, string goal = Target)
    {
        initiator.ExchangeLogin(0x00, Initiator, goal, "AuthMethod=CHAP,None");
        return TestInitiator.Pairs(initiator.ExchangeLogin(0x00, "CHAP_A=" + algorithms).Data);
    }

    private static WirePdu Chap(
        TestInitiator initiator, string algorithms, string user, string secret, string? mutualSecret, out string algorithm, string goal = Target)
    {
        algorithm = "";
        initiator.ExchangeLogin(0x00, Initiator, goal, "AuthMethod=CHAP,None");
        var step = initiator.ExchangeLogin(0x00, "CHAP_A=" + algorithms);
        if (TestInitiator.StatusOf(step) != 0)
            return step;
        var challenge = TestInitiator.Pairs(step.Data);
        algorithm = challenge["CHAP_A"];
        var response = Respond(algorithm, byte.Parse(challenge["CHAP_I"]), secret, Convert.FromHexString(challenge["CHAP_C"][2..]));
        var ours = TestInitiator.Pattern(16, 7);
        string[] mutual = mutualSecret is null ? [] : ["CHAP_I=9", "CHAP_C=0x" + Convert.ToHexString(ours)];
        var answer = initiator.ExchangeLogin(0x81, ["CHAP_N=" + user, "CHAP_R=0x" + Convert.ToHexString(response), .. mutual]);
        if (mutualSecret is not null && TestInitiator.StatusOf(answer) == 0)
        {
            var proof = TestInitiator.Pairs(answer.Data);
            Assert.Equal("disk", proof["CHAP_N"]);
            Assert.Equal(Convert.ToHexStringLower(Respond(algorithm, 9, mutualSecret, ours)), proof["CHAP_R"][2..]);
        }

        return answer;
    }

    private static byte[] Respond(string algorithm, byte id, string secret, byte[] challenge)
    {
        byte[] input = [id, .. Encoding.UTF8.GetBytes(secret), .. challenge];
#pragma warning disable CA5351 // The algorithm of the protocol under test.
        return algorithm switch
        {
            "7" => SHA256.HashData(input),
            "8" => SHA3_256.HashData(input),
            _ => MD5.HashData(input),
        };
#pragma warning restore CA5351
    }
}
