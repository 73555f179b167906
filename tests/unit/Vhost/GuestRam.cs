using System.Buffers.Binary;
using CowScsi.VhostUser.Memory;
using CowScsi.VhostUser.Native;
using Microsoft.Win32.SafeHandles;

namespace CowScsi.Tests.Unit.Vhost;

/// <summary>A region of a simulated guest's memory: a memfd, mapped here as a virtual machine has it mapped.</summary>
internal sealed unsafe class GuestRam : IDisposable
{
    public const ulong GuestBase = 0x1000_0000;
    public const ulong UserBase = 0x7F00_0000_0000;

    private readonly nint address;
    private MappedFile? mapped;

    public GuestRam(int lengthBytes, ulong guestAddress = GuestBase, ulong userAddress = UserBase, SafeFileHandle? file = null)
    {
        LengthBytes = lengthBytes;
        GuestAddress = guestAddress;
        UserAddress = userAddress;
        File = file ?? LinuxCall.CreateMemory("guest", lengthBytes);
        address = LinuxCall.Map(File, 0, lengthBytes, out _);
    }

    public SafeFileHandle File { get; }

    public int LengthBytes { get; }

    public ulong GuestAddress { get; }

    public ulong UserAddress { get; }

    public nint Address => address;

    /// <summary>The same memory as a back end has it.</summary>
    public MappedFile Mapped => mapped ??=
        MappedFile.Map(new SafeFileHandle(File.DangerousGetHandle(), ownsHandle: false), 0, (ulong)LengthBytes, "memory");

    /// <summary>Memory by its guest physical address.</summary>
    public Span<byte> At(ulong guestAddress, int lengthBytes)
    {
        ArgumentOutOfRangeException.ThrowIfGreaterThan(guestAddress - GuestAddress + (ulong)lengthBytes, (ulong)LengthBytes);
        return new Span<byte>((byte*)address + (guestAddress - GuestAddress), lengthBytes);
    }

    public ref ushort Word(ulong guestAddress) => ref *(ushort*)(address + (nint)(guestAddress - GuestAddress));

    public ulong UserOf(ulong guestAddress) => guestAddress - GuestAddress + UserAddress;

    /// <summary>The region as a message has it.</summary>
    public byte[] Describe(ulong mapOffset = 0)
    {
        var bytes = new byte[32];
        BinaryPrimitives.WriteUInt64LittleEndian(bytes, GuestAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(8), (ulong)LengthBytes);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(16), UserAddress);
        BinaryPrimitives.WriteUInt64LittleEndian(bytes.AsSpan(24), mapOffset);
        return bytes;
    }

    public void Dispose()
    {
        mapped?.Dispose();
        LinuxCall.Unmap(address, LengthBytes);
        File.Dispose();
    }
}
