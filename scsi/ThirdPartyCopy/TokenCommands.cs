using System.Buffers.Binary;
using CowScsi.Layers;

namespace CowScsi.Scsi;

/// <summary>
/// POPULATE TOKEN and WRITE USING TOKEN (SBC-4, 5.14 and 5.51): a copy whose two halves need not know of each other. Also what tells of
/// tokens: RECEIVE ROD TOKEN INFORMATION (SPC-4, 6.25) and REPORT ALL ROD TOKENS (6.29).
/// </summary>
/// <remarks>
/// <para>POPULATE TOKEN: length of what follows, 2 | IMMED in bit 0, RTV in bit 1 | reserved | inactivity timeout in seconds, 4 | ROD type, 4 |
/// reserved, 2 | length of the ranges, 2 | ranges.</para>
/// <para>WRITE USING TOKEN: length of what follows, 2 | IMMED in bit 0, DEL_TKN in bit 1 | reserved, 5 | offset into the ROD in blocks of
/// this logical unit, 8 | ROD token, 512 | reserved, 6 | length of the ranges, 2 | ranges.</para>
/// </remarks>
internal static class TokenCommands
{
    private const int PopulateHeaderBytes = 16;
    private const int WriteHeaderBytes = 536;
    private const int ListIdField = 6;
    private const int FlagsField = 2;
    private const byte ImmediateBit = 0x01;
    private const byte TypeValidBit = 0x02;
    private const byte DeleteBit = 0x02;
    private const int TimeoutField = 4;
    private const int TypeField = 8;
    private const int OffsetField = 8;
    private const int TokenField = 16;
    private const int RangesLengthField = WriteHeaderBytes - 2;
    private const int InformationListIdField = 2;
    private const int InformationBytesMax = 32 + CopySense.BytesMax + 4 + 2 + RodToken.Bytes;

    /// <summary>
    /// Makes a token. It runs alone, so that no write is under way whose data would be partly in what the token stands for; there is nothing
    /// to do in the background.
    /// </summary>
    public static ValueTask Populate(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        if (IsEmpty(command) || !RangeDescriptors.TryReadList(command, PopulateHeaderBytes, out var list))
            return default;
        var timeoutSeconds = BinaryPrimitives.ReadUInt32BigEndian(list.AsSpan(TimeoutField));
        var type = BinaryPrimitives.ReadUInt32BigEndian(list.AsSpan(TypeField));
        var isTypeGiven = (list[FlagsField] & TypeValidBit) != 0;
        if (timeoutSeconds > CopyLimits.TokenInactivitySecondsMax)
            command.FailParameter(TimeoutField);
        else if (isTypeGiven && type is not (RodToken.TypeDefault or RodToken.TypeChangeVulnerable or RodToken.TypeAny))
            command.FailParameter(TypeField);
        else if (RangeDescriptors.TryRead(command, list, PopulateHeaderBytes, geometry, out var ranges))
            Create(itl, command, geometry, ranges, timeoutSeconds == 0 ? CopyLimits.TokenInactivitySecondsDefault : timeoutSeconds);
        return default;
    }

    public static ValueTask WriteUsing(ItlNexus itl, ScsiCommand command)
    {
        var geometry = itl.Unit.Device.Geometry;
        if (IsEmpty(command) || !RangeDescriptors.TryReadList(command, WriteHeaderBytes, out var list) ||
            !RangeDescriptors.TryRead(command, list, WriteHeaderBytes, geometry, out var ranges))
        {
            return default;
        }

        var image = list.AsSpan(TokenField, RodToken.Bytes);
        var isZero = BinaryPrimitives.ReadUInt32BigEndian(image) == RodToken.TypeZero;
        RodToken? token = null;
        LogicalUnit? source = null;
        if (!TryCheckFormat(command, image) || (!isZero && !TryUse(itl, command, image, out token, out source)))
            return default;

        var domain = itl.Nexus.Target.Copies;
        var deletes = (list[FlagsField] & DeleteBit) != 0;
        var offset = (UInt128)BinaryPrimitives.ReadUInt64BigEndian(list.AsSpan(OffsetField)) * (uint)geometry.LogicalBlockBytes;
        if (token is not null && !TryCheckToken(command, token, source == itl.Unit, offset, ranges))
        {
            domain.Tokens.EndUse(token, deletes: false);
            return default;
        }

        var operation = new CopyOperation(
            CopyServiceActions.WriteUsingToken,
            BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListIdField..]),
            hasListId: true,
            (list[FlagsField] & ImmediateBit) != 0);
        var run = new TokenWriteRun(itl, operation, token, source, (long)offset, ranges, deletes);
        if (CopyRun.TryBegin(itl, command, operation))
            return run.Start(itl, command, operation);
        if (token is not null)
            domain.Tokens.EndUse(token, deletes: false);
        return default;
    }

    /// <summary>RECEIVE ROD TOKEN INFORMATION: how the copy ended, and the token where it made one.</summary>
    public static ValueTask ReceiveInformation(ItlNexus itl, ScsiCommand command)
    {
        if (itl.Copies.FindStatus(BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[InformationListIdField..])) is not { } operation)
        {
            command.FailCdb(InformationListIdField);
            return default;
        }

        var progress = operation.Progress;
        Span<byte> data = stackalloc byte[InformationBytesMax];
        var length = ReceiveCopyCommands.WriteStatus(data, operation, progress);
        if (operation.Token is { } token)
        {
            // The descriptor's first field is about tokens that EXTENDED COPY makes.
            BinaryPrimitives.WriteInt32BigEndian(data[length..], sizeof(ushort) + token.Length);
            token.CopyTo(data[(length + 4 + sizeof(ushort))..]);
            length += sizeof(ushort) + token.Length;
        }

        length += 4;
        BinaryPrimitives.WriteInt32BigEndian(data, length - 4);
        if (ReceiveCopyCommands.Answer(command, data[..length]))
            itl.Copies.OnTold(operation, status: progress.IsEnded, failure: progress.IsEnded);
        return default;
    }

    /// <summary>REPORT ALL ROD TOKENS: of this logical unit, and of each only the part that is of no use for reading.</summary>
    public static ValueTask ReportAll(ItlNexus itl, ScsiCommand command)
    {
        const int HeaderBytes = 8;
        var tokens = itl.Nexus.Target.Copies.Tokens.ListOf(itl.Unit);
        var writer = new AllocationWriter(command, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[10..]));
        writer.WriteUInt64((ulong)(HeaderBytes - 4 + (tokens.Count * RodToken.ManagementBytes)) << 32);
        foreach (var token in tokens)
            writer.Write(token.Image[..RodToken.ManagementBytes]);
        writer.Complete();
        return default;
    }

    /// <summary>A parameter list of no length is no error, and nothing is done (SBC-4, 5.14.1).</summary>
    private static bool IsEmpty(ScsiCommand command) => BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[10..]) == 0;

    private static void Create(ItlNexus itl, ScsiCommand command, BlockGeometry geometry, ByteRange[] ranges, long timeoutSeconds)
    {
        var operation = new CopyOperation(
            CopyServiceActions.PopulateToken, BinaryPrimitives.ReadUInt32BigEndian(command.Cdb[ListIdField..]), hasListId: true, isBackground: false);
        if (!CopyRun.TryBegin(itl, command, operation))
            return;
        if (itl.Nexus.Target.Copies.Tokens.Create(itl, ranges, timeoutSeconds * 1000) is { } token)
        {
            itl.Unit.Tokens.Add(token);

            // A resize that revoked all tokens before this one was among them.
            if (itl.Unit.Device.Geometry.SizeBytes != geometry.SizeBytes)
                itl.Unit.Tokens.RevokeAll();
            operation.SetToken(token.Image.ToArray(), token.LengthBytes / geometry.LogicalBlockBytes, token.LengthBytes);
        }
        else
        {
            command.Fail(SenseCodes.InsufficientResourcesToCreateRodToken);
        }

        CopyRun.End(itl, operation, command);
    }

    private static bool TryCheckFormat(ScsiCommand command, ReadOnlySpan<byte> image)
    {
        var type = BinaryPrimitives.ReadUInt32BigEndian(image);
        if (type is not (RodToken.TypeZero or RodToken.TypeChangeVulnerable))
            command.Fail(SenseCodes.UnsupportedTokenType, SenseDetail.InParameterList(TokenField, SenseDetail.WholeByte));
        else if (BinaryPrimitives.ReadUInt16BigEndian(image[6..]) != RodToken.LengthValue)
            command.Fail(SenseCodes.InvalidTokenLength, SenseDetail.InParameterList(TokenField + 6, SenseDetail.WholeByte));
        else
            return true;
        return false;
    }

    private static bool TryUse(ItlNexus itl, ScsiCommand command, ReadOnlySpan<byte> image, out RodToken? token, out LogicalUnit? source)
    {
        var tokens = itl.Nexus.Target.Copies.Tokens;
        token = tokens.TryUse(image, out var refusal);
        source = token?.Unit;
        if (token is not null && source is not null)
            return true;
        if (token is not null)
        {
            tokens.EndUse(token, deletes: false);
            refusal = RodTokenTable.SenseOf(token.State);
        }

        command.Fail(refusal);
        return false;
    }

    /// <summary>
    /// The token represents at least as much, from the offset on, as the ranges take; and they are not of what it represents, since their
    /// first block would end its validity.
    /// </summary>
    private static bool TryCheckToken(ScsiCommand command, RodToken token, bool isOfThisUnit, UInt128 offset, ByteRange[] ranges)
    {
        UInt128 wanted = 0;
        foreach (var range in ranges)
        {
            wanted += (UInt128)range.LengthBytes;
            if (isOfThisUnit && token.Touches(range.OffsetBytes, range.LengthBytes))
            {
                command.FailParameter(RangesLengthField);
                return false;
            }
        }

        if (offset + wanted <= (UInt128)token.LengthBytes)
            return true;
        command.FailParameter(offset > (UInt128)token.LengthBytes ? OffsetField : RangesLengthField);
        return false;
    }

    /// <summary>The ranges of one WRITE USING TOKEN, in their order, from the token's ranges in theirs.</summary>
    private sealed class TokenWriteRun(
        ItlNexus itl, CopyOperation operation, RodToken? token, LogicalUnit? unit, long offsetBytes, ByteRange[] ranges, bool deletes) : CopyRun
    {
        private readonly CopyTransfer transfer = new(operation);

        /// <summary>The way to what the token represents; null for the token of zeros. It is no nexus that the logical unit knows.</summary>
        private readonly ItlNexus? way = unit is null ? null : new ItlNexus(itl.Nexus, unit, itl.Lun);

        protected override async ValueTask<CopyFault?> RunAsync(ScsiTask? owner)
        {
            try
            {
                return await WriteAsync(owner);
            }
            finally
            {
                if (token is not null)
                    itl.Nexus.Target.Copies.Tokens.EndUse(token, deletes);
            }
        }

        protected override void Report(ScsiCommand command, CopyFault fault)
        {
            // What this logical unit itself answers to a write is the command's answer.
            if (fault.IsDestination && fault.Status is not (ScsiStatus.Good or ScsiStatus.TaskAborted))
                command.FailAs(fault.Status, fault.Sense);
            else if (fault.Code.Key == SenseKey.CopyAborted)
                command.Fail(fault);
            else
                command.Fail(fault.Code);
        }

        private async ValueTask<CopyFault?> WriteAsync(ScsiTask? owner)
        {
            var source = default(ByteRange);
            var next = 0;
            var skip = offsetBytes;
            foreach (var range in ranges)
            {
                for (long done = 0; done < range.LengthBytes;)
                {
                    while (token is not null && source.LengthBytes == 0)
                    {
                        source = token.Ranges[next++];
                        var skipped = Math.Min(skip, source.LengthBytes);
                        skip -= skipped;
                        source = new ByteRange(source.OffsetBytes + skipped, source.LengthBytes - skipped);
                    }

                    var length = token is null ? range.LengthBytes - done : Math.Min(range.LengthBytes - done, source.LengthBytes);
                    var to = new CopyEnd(itl, range.OffsetBytes + done);
                    if (length % itl.Unit.Device.Geometry.LogicalBlockBytes != 0)
                        return new CopyFault(SenseCodes.InvalidFieldInParameterList, 0);
                    var fault = token is null || way is null
                        ? await transfer.RunZeroAsync(to, length, owner)
                        : await transfer.RunTokenAsync(token, new CopyEnd(way, source.OffsetBytes), to, length, owner);
                    if (operation.IsAbortRequested || owner is { IsAbortRequested: true })
                        return new CopyFault(SenseCodes.CopyAbortedNoAdditionalSense, 0);
                    if (fault is not null)
                        return fault;
                    done += length;
                    source = new ByteRange(source.OffsetBytes + length, source.LengthBytes - length);
                }
            }

            return null;
        }
    }
}
