using CowScsi.Engine;
using System.Buffers.Binary;
using CowScsi.Iscsi.Login;
using CowScsi.Iscsi.Pdu;
using CowScsi.Iscsi.Sockets;
using CowScsi.Layers;

namespace CowScsi.Iscsi.Connections;

/// <summary>What the next bytes of the stream are.</summary>
internal enum InputState : byte
{
    /// <summary>Basic header, additional headers and header digest.</summary>
    Header = 0,

    /// <summary>The data segment.</summary>
    Data = 1,

    /// <summary>Padding and data digest.</summary>
    Trailer = 2,
}

/// <summary>
/// From the stream to PDUs. Bytes are received into the loop's buffer, many PDUs a call; the rest of a long data segment goes straight
/// into its command's buffer.
/// </summary>
internal sealed unsafe partial class IscsiConnection
{
    /// <summary>Rounds of receiving before other connections have their turn.</summary>
    private const int ReceiveRoundsMax = 4;

    /// <summary>From this much on, a data segment is received into its command's buffer; less is cheaper to copy.</summary>
    private const int DirectBytesMin = 4096;

    /// <summary>What is received beyond such a segment: the next headers, but little of the next segment, which would be copied.</summary>
    private const int BeyondDirectBytes = 8192;

    /// <summary>Answers are sent once this much is queued, so that the initiator works while we do; the last segment waits for the next.</summary>
    private const long EagerFlushBytes = 64 * 1024;

    private const int HeaderBytesMax = PduField.HeaderBytes + PduField.AhsBytesMax + PduField.DigestBytes;
    private const int TrailerBytesMax = PduField.PaddingUnitBytes - 1 + PduField.DigestBytes;

    private readonly byte[] header = new byte[PduField.HeaderBytes];
    private readonly byte[] trailer = new byte[TrailerBytesMax];
    private byte[]? partialHeader;
    private int partialHeaderBytes;
    private InputState inputState;

    /// <summary>Bytes that have been received behind the header that is being taken: commands, or data. A measure of the work at hand.</summary>
    private int inputAhead;

    private byte* sink;
    private int sinkLeft;
    private int dataBytes;
    private uint dataDigest;
    private int trailerBytes;
    private int trailerNeeded;
    private NativeBuffer? gathered;
    private IscsiTask? receivingTask;

    private PduHeader Pdu => new(header);

    private ReadOnlySpan<byte> GatheredData => gathered is null ? default : gathered.Span[..dataBytes];

    private void Receive()
    {
        var vectors = stackalloc IoSlice[2];
        for (var round = 0; round < ReceiveRoundsMax && (IsReceiving || phase == ConnectionPhase.Draining) && !isInputPaused; round++)
        {
            var scratch = Loop.ReceiveBuffer.Span;
            var isDirect = inputState == InputState.Data && sink is not null && sinkLeft >= DirectBytesMin;
            var direct = isDirect ? sinkLeft : 0;
            nint received;
            fixed (byte* start = scratch)
            {
                vectors[0] = new IoSlice((nint)sink, direct);
                vectors[1] = new IoSlice((nint)start, isDirect ? BeyondDirectBytes : scratch.Length);
                received = isDirect ? LinuxSocket.Receive(Descriptor, vectors, 2) : LinuxSocket.Receive(Descriptor, vectors + 1, 1);
            }

            if (received <= 0)
            {
                if (received != -LinuxSocket.Again)
                    OnStreamEnded((int)received);
                return;
            }

            lastReceived = Environment.TickCount64;
            inputWatch.Note(received);
            if (phase == ConnectionPhase.Draining)
                continue;
            var intoSink = (int)Math.Min(received, direct);
            if (intoSink > 0)
                AcceptData(intoSink);
            Process(scratch[..((int)received - intoSink)]);
            if (received < direct + vectors[1].Length)
                return;
        }
    }

    private void OnStreamEnded(int result)
    {
        // An end in the full feature phase without a logout is a lost session; before it, or after our last answer, nothing is lost.
        var isSilent = phase == ConnectionPhase.Draining || (session is null && result == 0);
        Close(isSilent ? null : "connection lost");
    }

    private void Process(ReadOnlySpan<byte> input)
    {
        while (!input.IsEmpty && IsReceiving)
        {
            inputAhead = Math.Max(input.Length - PduField.HeaderBytes, 0);
            input = inputState switch
            {
                InputState.Header => TakeHeader(input),
                InputState.Data => TakeData(input),
                _ => TakeTrailer(input),
            };
            if (output.PendingBytes >= EagerFlushBytes && !isOutputBlocked)
                Flush(isMoreComing: !input.IsEmpty);
        }

        inputAhead = 0;
        if (!input.IsEmpty && phase == ConnectionPhase.Waiting)
            Close("data after the last login request");
    }

    private int HeaderBytesOf(ReadOnlySpan<byte> start) =>
        PduField.HeaderBytes + new PduHeader(start).AhsBytes + (IsDigested && parameters.HasHeaderDigest ? PduField.DigestBytes : 0);

    /// <summary>Digests begin with the full feature phase (RFC 7143, 13.1).</summary>
    private bool IsDigested => hasBegunFullFeature;

    private ReadOnlySpan<byte> TakeHeader(ReadOnlySpan<byte> input)
    {
        if (partialHeaderBytes == 0 && input.Length >= PduField.HeaderBytes)
        {
            var whole = HeaderBytesOf(input);
            if (input.Length >= whole)
            {
                BeginPdu(input[..whole]);
                return input[whole..];
            }
        }

        partialHeader ??= new byte[HeaderBytesMax];
        var needed = partialHeaderBytes < PduField.HeaderBytes ? PduField.HeaderBytes : HeaderBytesOf(partialHeader);
        var taken = Math.Min(needed - partialHeaderBytes, input.Length);
        input[..taken].CopyTo(partialHeader.AsSpan(partialHeaderBytes));
        partialHeaderBytes += taken;
        if (partialHeaderBytes >= PduField.HeaderBytes && partialHeaderBytes == HeaderBytesOf(partialHeader))
        {
            var whole = partialHeader.AsSpan(0, partialHeaderBytes);
            partialHeaderBytes = 0;
            BeginPdu(whole);
        }

        return input[taken..];
    }

    private void BeginPdu(ReadOnlySpan<byte> whole)
    {
        if (IsDigested && parameters.HasHeaderDigest)
        {
            var covered = whole[..^PduField.DigestBytes];
            if (Crc32C.Of(covered) != BinaryPrimitives.ReadUInt32LittleEndian(whole[covered.Length..]))
            {
                // RFC 7143, 7.8: the stream cannot be trusted any more, and at ERL 0 nothing recovers it.
                Close("header digest error");
                return;
            }

            whole = covered;
        }

        whole[..PduField.HeaderBytes].CopyTo(header);
        var pdu = Pdu;
        dataBytes = pdu.DataBytes;
        sink = null;
        receivingTask = null;
        if (phase == ConnectionPhase.FullFeature)
            NoteAcknowledgement(pdu.ExpStatSN);
        // Before a login is over, whatever it has declared, a peer gets no more room than any other.
        if (dataBytes > (hasBegunFullFeature ? parameters.TargetDataBytesMax : SessionParameters.LoginDataBytesMax))
        {
            FailProtocol(RejectReason.ProtocolError, $"data segment of {dataBytes} bytes is longer than was declared");
            return;
        }

        var ahs = whole[PduField.HeaderBytes..];
        switch (pdu.Opcode)
        {
            case Opcode.LoginRequest when phase == ConnectionPhase.Login && ahs.IsEmpty:
                BeginGather();
                break;
            case var opcode when phase == ConnectionPhase.Login:
                Close($"{opcode} before the login");
                return;
            case var opcode when parameters.IsDiscovery && opcode is not (Opcode.TextRequest or Opcode.LogoutRequest or Opcode.NopOut):
                // RFC 7143, 4.3: a discovery session has nothing but SendTargets.
                FailProtocol(RejectReason.ProtocolError, $"{opcode} in a discovery session");
                return;
            case Opcode.ScsiCommand:
                BeginCommand(pdu, ahs);
                break;
            case Opcode.DataOut:
                BeginDataOut(pdu);
                break;
            default:
                BeginGather();
                break;
        }

        if (!IsReceiving)
            return;
        sinkLeft = dataBytes;
        dataDigest = Crc32C.Initial;
        if (dataBytes == 0)
            EndPdu(isIntact: true);
        else
            inputState = InputState.Data;
    }

    /// <summary>All requests carry ExpStatSN; a value beyond what was sent acknowledges nothing.</summary>
    private void NoteAcknowledgement(uint expStatSN)
    {
        if (unchecked((int)(expStatSN - statSN)) > 0 || unchecked((int)(expStatSN - acknowledgedStatSN)) <= 0)
            return;
        acknowledgedStatSN = expStatSN;
        if (session!.AwaitsAcknowledgement)
            session.OnAcknowledged();
    }

    private void BeginGather()
    {
        if (dataBytes == 0)
            return;
        gathered = Loop.Buffers.TryRent(dataBytes, heldBytes: 0);
        if (gathered is null)
            return;
        fixed (byte* start = gathered.Span)
            sink = start;
    }

    private ReadOnlySpan<byte> TakeData(ReadOnlySpan<byte> input)
    {
        var taken = Math.Min(input.Length, sinkLeft);
        if (sink is not null)
            input[..taken].CopyTo(new Span<byte>(sink, taken));
        if (parameters.HasDataDigest && IsDigested)
            dataDigest = Crc32C.Append(dataDigest, input[..taken]);
        AdvanceData(taken);
        return input[taken..];
    }

    private void AcceptData(int taken)
    {
        if (parameters.HasDataDigest && IsDigested)
            dataDigest = Crc32C.Append(dataDigest, new ReadOnlySpan<byte>(sink, taken));
        AdvanceData(taken);
    }

    private void AdvanceData(int taken)
    {
        if (sink is not null)
            sink += taken;
        sinkLeft -= taken;
        if (sinkLeft > 0)
            return;
        trailerBytes = 0;
        trailerNeeded = PduField.Padding(dataBytes) + (parameters.HasDataDigest && IsDigested ? PduField.DigestBytes : 0);
        inputState = InputState.Trailer;
        if (trailerNeeded == 0)
            EndPdu(isIntact: true);
    }

    private ReadOnlySpan<byte> TakeTrailer(ReadOnlySpan<byte> input)
    {
        var taken = Math.Min(input.Length, trailerNeeded - trailerBytes);
        input[..taken].CopyTo(trailer.AsSpan(trailerBytes));
        trailerBytes += taken;
        if (trailerBytes == trailerNeeded)
        {
            var padding = PduField.Padding(dataBytes);
            var isIntact = true;
            if (trailerNeeded > padding)
            {
                var actual = Crc32C.Finish(Crc32C.Append(dataDigest, trailer.AsSpan(0, padding)));
                isIntact = actual == BinaryPrimitives.ReadUInt32LittleEndian(trailer.AsSpan(padding));
            }

            EndPdu(isIntact);
        }

        return input[taken..];
    }

    private void EndPdu(bool isIntact)
    {
        inputState = InputState.Header;
        sink = null;
        inputWatch.Restart();
        var pdu = Pdu;
        switch (pdu.Opcode)
        {
            case Opcode.ScsiCommand:
                EndCommand(pdu, isIntact);
                break;
            case Opcode.DataOut:
                EndDataOut(pdu, isIntact);
                break;
            case Opcode.LoginRequest when phase == ConnectionPhase.Login:
                OnLoginRequest(pdu, GatheredData);
                break;
            default:
                if (isIntact)
                    OnControlPdu(pdu);
                else
                    SendReject(RejectReason.DataDigestError, pdu.Bytes);
                break;
        }

        ReleaseGathered();
        receivingTask = null;
    }

    private void ReleaseGathered()
    {
        if (gathered is not null)
            Loop.Buffers.Return(gathered);
        gathered = null;
    }

    /// <summary>A task goes away while its data is arriving: the rest of the segment is dropped.</summary>
    public void DetachInput(IscsiTask task)
    {
        if (receivingTask != task)
            return;
        receivingTask = null;
        sink = null;
    }

    private void DropInput()
    {
        ReleaseGathered();
        sink = null;
        if (receivingTask is { } task && session is not null && session.Tasks.GetValueOrDefault(task.InitiatorTaskTag) != task)
            task.ReturnTo(Loop);
        receivingTask = null;
        inputState = InputState.Header;
    }
}
