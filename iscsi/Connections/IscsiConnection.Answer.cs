using CowScsi.Engine;
using System.Buffers.Binary;
using CowScsi.Iscsi.Pdu;
using CowScsi.Scsi;

namespace CowScsi.Iscsi.Connections;

/// <summary>Answers to SCSI commands: Data-In and SCSI Response, RFC 7143, 11.7 and 11.4.</summary>
internal sealed partial class IscsiConnection
{
    /// <summary>Read data below this is copied behind its header; above, it leaves from the command's buffer.</summary>
    private const int CopiedBytesMax = 1024;

    private const byte ResponseCompleted = 0x00;
    private const byte ResponseTargetFailure = 0x01;
    private const int SenseLengthBytes = 2;

    private static ReadOnlySpan<byte> Zeros => [0, 0, 0, 0];

    /// <summary>
    /// Room for a PDU of a header, a data segment of this length, and its padding and digests. <see cref="SealPdu"/> completes it.
    /// </summary>
    private PduHeaderWriter OpenPdu(Opcode opcode, byte flags, uint initiatorTaskTag, int dataLength, out Span<byte> pdu)
    {
        var digest = HeaderDigestBytes;
        var trailing = dataLength == 0 ? 0 : PduField.Padding(dataLength) + DataDigestBytes;
        pdu = output.Reserve(Loop.Buffers, PduField.HeaderBytes + digest + dataLength + trailing);
        var writer = new PduHeaderWriter(pdu, opcode, flags, initiatorTaskTag);
        writer.DataBytes(dataLength);
        return writer;
    }

    private int HeaderDigestBytes => IsDigested && parameters.HasHeaderDigest ? PduField.DigestBytes : 0;

    private int DataDigestBytes => IsDigested && parameters.HasDataDigest ? PduField.DigestBytes : 0;

    private Span<byte> DataOf(Span<byte> pdu, int dataLength) => pdu.Slice(PduField.HeaderBytes + HeaderDigestBytes, dataLength);

    /// <summary>Completes a PDU whose header and data are filled in: digests and padding.</summary>
    private void SealPdu(Span<byte> pdu, int dataLength)
    {
        if (HeaderDigestBytes > 0)
            BinaryPrimitives.WriteUInt32LittleEndian(pdu[PduField.HeaderBytes..], Crc32C.Of(pdu[..PduField.HeaderBytes]));
        if (dataLength == 0)
            return;
        var data = pdu[(PduField.HeaderBytes + HeaderDigestBytes)..];
        var padded = dataLength + PduField.Padding(dataLength);
        data[dataLength..padded].Clear();
        if (DataDigestBytes > 0)
            BinaryPrimitives.WriteUInt32LittleEndian(data[padded..], Crc32C.Of(data[..padded]));
    }

    /// <summary>Sends what a task that has ended has to say. The task goes back to its pool once its data is sent.</summary>
    private void SendAnswer(IscsiTask task)
    {
        var command = task.Command;
        var room = task.Data is null ? 0 : Math.Min(task.ExpectedBytes, task.Data.Length);
        var isCut = task.IsRead && task.ExpectedBytes > room && command.TransferLengthWanted > room && command.Status == ScsiStatus.Good;
        if (isCut && task.RefusedStatus is null)
            Refuse(task, IscsiSense.InvalidFieldInCdb);
        if (task.HasFailed || task.RefusedStatus is not null)
        {
            var sense = task.RefusedSense is null ? default : task.RefusedSense.Bytes;
            SendResponse(task, task.HasFailed ? default : task.RefusedStatus ?? default, sense, 0, 0);
            task.ReturnTo(Loop);
            return;
        }

        var dataLength = task.IsRead ? (int)Math.Min(command.DataInLength, room) : 0;
        var residualFlag = ResidualOf(task, dataLength, out var residual);
        if (dataLength == 0)
        {
            SendResponse(task, command.Status, command.Sense, residualFlag, residual);
            task.ReturnTo(Loop);
            return;
        }

        // Without sense data the status rides on the last Data-In PDU (phase collapse, RFC 7143, 11.7.4).
        var isCollapsed = command.SenseLength == 0;
        var dataPdus = SendData(task, dataLength, isCollapsed ? residualFlag : null, residual);
        if (!isCollapsed)
            SendResponse(task, command.Status, command.Sense, residualFlag, residual, dataPdus);
        if (dataLength > CopiedBytesMax)
            output.ReleaseWhenSent(task);
        else
            task.ReturnTo(Loop);
    }

    /// <summary>
    /// Residual of RFC 7143, 11.4.5: overflow where the command would move more than the initiator expects, underflow where less was
    /// moved.
    /// </summary>
    private static byte ResidualOf(IscsiTask task, int dataInBytes, out uint count)
    {
        var wanted = task.Command.TransferLengthWanted;
        if (wanted > task.ExpectedBytes)
        {
            count = (uint)Math.Min(wanted - task.ExpectedBytes, uint.MaxValue);
            return PduField.ResidualOverflowBit;
        }

        var moved = task.IsRead ? dataInBytes : wanted;
        count = (uint)(task.ExpectedBytes - moved);
        return count == 0 ? (byte)0 : PduField.ResidualUnderflowBit;
    }

    /// <summary>
    /// The Data-In PDUs of a read: none longer than the initiator's MaxRecvDataSegmentLength, F at the end of each MaxBurstLength.
    /// Returns their number.
    /// </summary>
    /// <param name="statusFlags">Residual flag to send with the status in the last PDU; null where the status follows by itself.</param>
    private uint SendData(IscsiTask task, int length, byte? statusFlags, uint residual)
    {
        uint dataSN = 0;
        var burst = 0;
        for (var offset = 0; offset < length; dataSN++)
        {
            var part = Math.Min(Math.Min(length - offset, parameters.InitiatorDataBytesMax), parameters.MaxBurstBytes - burst);
            burst += part;
            var isLast = offset + part == length;
            var isBurstEnd = isLast || burst == parameters.MaxBurstBytes;
            if (isBurstEnd)
                burst = 0;
            var flags = isBurstEnd ? PduField.FinalBit : (byte)0;
            if (isLast && statusFlags is { } residualFlag)
                flags |= (byte)(PduField.DataInStatusBit | residualFlag);
            SendDataPdu(task, offset, part, flags, dataSN, residual);
            offset += part;
        }

        return dataSN;
    }

    private void SendDataPdu(IscsiTask task, int offset, int part, byte flags, uint dataSN, uint residual)
    {
        var data = task.Data!.Buffer.Slice(offset, part);
        var isCopied = task.Command.DataInLength <= CopiedBytesMax;
        var inPlace = isCopied ? part + PduField.Padding(part) + DataDigestBytes : 0;
        var pdu = output.Reserve(Loop.Buffers, PduField.HeaderBytes + HeaderDigestBytes + inPlace);
        var writer = new PduHeaderWriter(pdu, Opcode.DataIn, flags, task.InitiatorTaskTag);
        writer.DataBytes(part);
        writer.Lun(task.Command.Lun);
        writer.UInt32(PduField.TargetTransferTag, PduField.NoTag);
        var window = session!.Window;
        if ((flags & PduField.DataInStatusBit) != 0)
        {
            writer.Byte(PduField.Byte3, (byte)task.Command.Status);
            writer.UInt32(PduField.ResidualCount, residual);
            writer.Sequence(statSN++, window.ExpCmdSN, window.MaxCmdSN);
        }
        else
        {
            // StatSN is reserved without status (RFC 7143, 11.7.5).
            writer.Sequence(0, window.ExpCmdSN, window.MaxCmdSN);
        }

        writer.UInt32(PduField.DataSN, dataSN);
        writer.UInt32(PduField.BufferOffset, (uint)offset);
        if (isCopied)
        {
            data.CopyTo(DataOf(pdu, part));
            SealPdu(pdu, part);
            return;
        }

        SealPdu(pdu, 0);
        output.AppendReference(data, null);
        SendTrailer(data.FirstSpan, part == task.Command.DataInLength ? task.DataDigest : null);
    }

    /// <summary>
    /// The data digest of a long read that goes out in one PDU; null where there is none to take. On any thread, while the command completes.
    /// </summary>
    public uint? DigestAhead(IscsiTask task)
    {
        var length = task.Command.DataInLength;
        if (!parameters.HasDataDigest || !task.IsRead || task.Data is not { } data || length <= CopiedBytesMax || length > data.Length ||
            (length & (PduField.PaddingUnitBytes - 1)) != 0)
        {
            return null;
        }

        return length <= Math.Min(parameters.InitiatorDataBytesMax, parameters.MaxBurstBytes) ? Crc32C.Of(data.Span[..(int)length]) : null;
    }

    /// <summary>Padding and digest of a data segment that does not lie beside its header.</summary>
    /// <param name="known">The digest, where it was taken before.</param>
    private void SendTrailer(ReadOnlySpan<byte> data, uint? known)
    {
        var padding = PduField.Padding(data.Length);
        if (padding + DataDigestBytes == 0)
            return;
        var trailing = output.Reserve(Loop.Buffers, padding + DataDigestBytes);
        trailing[..padding].Clear();
        if (DataDigestBytes > 0)
        {
            var digest = known ?? Crc32C.Finish(Crc32C.Append(Crc32C.Append(Crc32C.Initial, data), Zeros[..padding]));
            BinaryPrimitives.WriteUInt32LittleEndian(trailing[padding..], digest);
        }
    }

    private void SendResponse(
        IscsiTask task, ScsiStatus status, ReadOnlySpan<byte> sense, byte residualFlag, uint residual, uint dataPdus = 0)
    {
        if (task.RefusedStatus is not null && task.ExpectedBytes > 0)
        {
            residualFlag = PduField.ResidualUnderflowBit;
            residual = task.ExpectedBytes;
        }

        var dataLength = sense.IsEmpty ? 0 : SenseLengthBytes + sense.Length;
        var writer = OpenPdu(Opcode.ScsiResponse, (byte)(PduField.FinalBit | residualFlag), task.InitiatorTaskTag, dataLength, out var pdu);
        writer.Byte(PduField.Byte2, task.HasFailed ? ResponseTargetFailure : ResponseCompleted);
        writer.Byte(PduField.Byte3, (byte)status);
        writer.Sequence(statSN++, session!.Window.ExpCmdSN, session.Window.MaxCmdSN);
        // ExpDataSN: how many Data-In and R2T PDUs the command has had.
        writer.UInt32(PduField.DataSN, dataPdus + task.NextR2TSN);
        writer.UInt32(PduField.ResidualCount, residual);
        if (dataLength > 0)
        {
            var data = DataOf(pdu, dataLength);
            BinaryPrimitives.WriteUInt16BigEndian(data, (ushort)sense.Length);
            sense.CopyTo(data[SenseLengthBytes..]);
        }

        SealPdu(pdu, dataLength);
    }
}
