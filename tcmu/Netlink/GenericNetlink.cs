using System.Runtime.InteropServices;
using CowScsi.Tcmu.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tcmu.Netlink;

/// <summary>A generic netlink socket that listens to a group of a family. One thread uses it.</summary>
internal sealed unsafe class GenericNetlink : IDisposable
{
    /// <summary>
    /// Room for messages that nobody has read yet, some 500 bytes each in the kernel's reckoning: thousands of devices may be added at
    /// once. More is an overrun, which is survived.
    /// </summary>
    private const int ReceiveRoomBytes = 8 << 20;

    private const int MessageBytesMax = 64 << 10;
    private const ushort ControlFamily = 16;
    private const byte GetFamily = 3;
    private const byte ControlVersion = 1;
    private const ushort FamilyIdAttribute = 1;
    private const ushort FamilyNameAttribute = 2;
    private const ushort GroupsAttribute = 7;
    private const ushort GroupNameAttribute = 1;
    private const ushort GroupIdAttribute = 2;

    private readonly byte[] buffer = GC.AllocateUninitializedArray<byte>(MessageBytesMax, pinned: true);

    private GenericNetlink(SafeFileHandle socket) => Socket = socket;

    public SafeFileHandle Socket { get; }

    public ushort Family { get; private set; }

    /// <summary>Opens a socket for a family of the running kernel, and joins one of its groups where one is named.</summary>
    public static GenericNetlink Open(string family, string? group)
    {
        var netlink = new GenericNetlink(LinuxCalls.OpenGenericNetlink(ReceiveRoomBytes));
        try
        {
            netlink.Resolve(family, group);
            return netlink;
        }
        catch
        {
            netlink.Dispose();
            throw;
        }
    }

    public void Dispose() => Socket.Dispose();

    /// <summary>What came; empty where nothing is there.</summary>
    /// <param name="isOverrun">Messages were lost since the last time.</param>
    public ReadOnlySpan<byte> Receive(out bool isOverrun)
    {
        isOverrun = false;
        fixed (byte* start = buffer)
        {
            var got = LinuxCalls.Read(Socket, start, (nuint)buffer.Length);
            if (got >= 0)
                return buffer.AsSpan(0, (int)got);
        }

        var error = Marshal.GetLastPInvokeError();
        isOverrun = error == LinuxCalls.ENOBUFS;
        return isOverrun || error is LinuxCalls.EAGAIN or LinuxCalls.EINTR ? default : throw LinuxCalls.Failure("read of netlink");
    }

    /// <summary>Sends a message. From any thread.</summary>
    public void Send(ReadOnlySpan<byte> message)
    {
        fixed (byte* start = message)
        {
            if (LinuxCalls.Write(Socket, start, (nuint)message.Length) < 0)
                throw LinuxCalls.Failure("write to netlink");
        }
    }

    private void Resolve(string family, string? group)
    {
        const ushort ErrorType = 2;
        Send(NetlinkMessage.Request(ControlFamily, GetFamily, ControlVersion, FamilyNameAttribute, family));

        LinuxCalls.WaitReadable(Socket);
        var received = Receive(out _);
        uint groupId = 0;
        while (NetlinkMessage.TryTake(ref received, out var type, out var body))
        {
            if (type == ErrorType || body.Length < NetlinkMessage.GenericHeaderBytes)
                continue;
            var attributes = body[NetlinkMessage.GenericHeaderBytes..];
            while (NetlinkMessage.TryTakeAttribute(ref attributes, out var attribute, out var value))
            {
                if (attribute == FamilyIdAttribute && value.Length >= sizeof(ushort))
                    Family = MemoryMarshal.Read<ushort>(value);
                else if (attribute == GroupsAttribute && group is not null)
                    groupId = FindGroup(value, group);
            }
        }

        if (Family == 0 || (group is not null && groupId == 0))
            throw new IOException($"the kernel has no generic netlink family {family}{(group is null ? "" : " with a group " + group)}");
        if (groupId != 0)
            LinuxCalls.JoinNetlinkGroup(Socket, groupId);
    }

    private static uint FindGroup(ReadOnlySpan<byte> groups, string wanted)
    {
        while (NetlinkMessage.TryTakeAttribute(ref groups, out _, out var group))
        {
            uint id = 0;
            var isWanted = false;
            while (NetlinkMessage.TryTakeAttribute(ref group, out var type, out var value))
            {
                if (type == GroupNameAttribute)
                    isWanted = NetlinkMessage.Text(value) == wanted;
                else if (type == GroupIdAttribute && value.Length >= sizeof(uint))
                    id = MemoryMarshal.Read<uint>(value);
            }

            if (isWanted)
                return id;
        }

        return 0;
    }
}
