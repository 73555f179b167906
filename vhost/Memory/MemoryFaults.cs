using System.Runtime.InteropServices;
using CowScsi.VhostUser.Native;

namespace CowScsi.VhostUser.Memory;

/// <summary>
/// Survives shared memory that is there by its length and cannot be had: its file was made shorter, no huge page is free, its file system is
/// full, the page is broken. An access is then a SIGBUS, which would end the process and every other guest's disks with it.
/// </summary>
/// <remarks>
/// <para>A few machine instructions handle that signal: they look the address up in a table of the mapped regions, count, put private memory
/// in the place of the whole region and return, so that the access is done again and succeeds. What stands there is nobody's: the front end
/// is cut off as soon as a queue sees the count, and nothing that was done meanwhile is acknowledged. It is the whole region, in one piece,
/// because a piece for each page would let a front end use up the mappings that a process may have. An address in no region goes to whoever
/// handled the signal before, which is the runtime. Managed code cannot do this, since the signal may interrupt managed code.</para>
/// <para>What makes the instructions safe where they run: they touch registers that they restore or that a signal's end restores, their
/// stack, the table and one raw system call, which changes no errno. They take no lock; an entry that is being replaced is known by its end,
/// which is written first (as zero) and last, and read before and after the start.</para>
/// <para>They are for x86-64. On other processors <see cref="IsGuarded"/> is false, and only memory that cannot be made shorter (sealed
/// against it) and that lies in ordinary pages is taken.</para>
/// </remarks>
internal static unsafe class MemoryFaults
{
    private const int SignalBus = 7;
    private const int SignalInformation = 4;
    private const int OnAlternateStack = 0x0800_0000;
    private const int CodeBytes = 4096;

    /// <summary>Regions of all guests together. Beyond that a region must be sealed and lie in ordinary pages.</summary>
    private const int EntriesMax = 8192;

    private static readonly Lock Gate = new();
    private static readonly Table* Shared = Install();

    /// <summary>
    /// handler(signal: edi, siginfo: rsi, context: rdx). The eight bytes in front of the code hold the table's address. Registers: rcx the
    /// address that faulted, rbx the table, rax the entry, rdx the end of the entries, rdi and r8 where the entry's region begins and ends.
    /// The system call is mmap(start, length, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED | MAP_ANONYMOUS | MAP_NORESERVE, -1, 0).
    /// </summary>
    private static ReadOnlySpan<byte> Handler =>
    [
        0x41, 0x55,                                                    // push %r13
        0x49, 0x89, 0xd5,                                              // mov %rdx,%r13
        0x41, 0x54,                                                    // push %r12
        0x41, 0x89, 0xfc,                                              // mov %edi,%r12d
        0x55,                                                          // push %rbp
        0x48, 0x89, 0xf5,                                              // mov %rsi,%rbp
        0x53,                                                          // push %rbx
        0x48, 0x8b, 0x4e, 0x10,                                        // mov 0x10(%rsi),%rcx
        0x48, 0x8b, 0x1d, 0xde, 0xff, 0xff, 0xff,                      // mov -0x22(%rip),%rbx
        0x48, 0x8b, 0x53, 0x08,                                        // mov 0x8(%rbx),%rdx
        0x48, 0x8d, 0x43, 0x18,                                        // lea 0x18(%rbx),%rax
        0x48, 0xc1, 0xe2, 0x05,                                        // shl $0x5,%rdx
        0x48, 0x01, 0xc2,                                              // add %rax,%rdx
        0x48, 0x39, 0xd0,                                              // next: cmp %rdx,%rax
        0x74, 0x4b,                                                    // je chain
        0x4c, 0x8b, 0x40, 0x08,                                        // mov 0x8(%rax),%r8
        0x48, 0x8b, 0x38,                                              // mov (%rax),%rdi
        0x4c, 0x3b, 0x40, 0x08,                                        // cmp 0x8(%rax),%r8
        0x75, 0x0a,                                                    // jne other
        0x48, 0x39, 0xf9,                                              // cmp %rdi,%rcx
        0x72, 0x05,                                                    // jb other
        0x4c, 0x39, 0xc1,                                              // cmp %r8,%rcx
        0x72, 0x06,                                                    // jb inside
        0x48, 0x83, 0xc0, 0x20,                                        // other: add $0x20,%rax
        0xeb, 0xde,                                                    // jmp next
        0xf0, 0x48, 0xff, 0x40, 0x10,                                  // inside: lock incq 0x10(%rax)
        0xf0, 0x48, 0xff, 0x43, 0x10,                                  // lock incq 0x10(%rbx)
        0x4c, 0x89, 0xc6,                                              // mov %r8,%rsi
        0x48, 0x29, 0xfe,                                              // sub %rdi,%rsi
        0x49, 0x83, 0xc8, 0xff,                                        // or $0xffffffffffffffff,%r8
        0x45, 0x31, 0xc9,                                              // xor %r9d,%r9d
        0xb8, 0x09, 0x00, 0x00, 0x00,                                  // mov $0x9,%eax
        0x41, 0xba, 0x32, 0x40, 0x00, 0x00,                            // mov $0x4032,%r10d
        0xba, 0x03, 0x00, 0x00, 0x00,                                  // mov $0x3,%edx
        0x0f, 0x05,                                                    // syscall
        0x48, 0x85, 0xc0,                                              // test %rax,%rax
        0x79, 0x14,                                                    // jns mended
        0x48, 0x8b, 0x03,                                              // chain: mov (%rbx),%rax
        0x4c, 0x89, 0xea,                                              // mov %r13,%rdx
        0x5b,                                                          // pop %rbx
        0x48, 0x89, 0xee,                                              // mov %rbp,%rsi
        0x44, 0x89, 0xe7,                                              // mov %r12d,%edi
        0x5d,                                                          // pop %rbp
        0x41, 0x5c,                                                    // pop %r12
        0x41, 0x5d,                                                    // pop %r13
        0xff, 0xe0,                                                    // jmp *%rax
        0x5b,                                                          // mended: pop %rbx
        0x5d,                                                          // pop %rbp
        0x41, 0x5c,                                                    // pop %r12
        0x41, 0x5d,                                                    // pop %r13
        0xc3,                                                          // ret
    ];

    /// <summary>Whether regions can be guarded on this processor.</summary>
    public static bool IsGuarded => Shared is not null;

    /// <summary>Faults in the life of the process, of all guests: a queue that sees another number than before looks at its own regions.</summary>
    public static long Count => Shared is null ? 0 : Volatile.Read(ref Shared->Faults);

    /// <summary>Guards a mapped range from now on; what to give to the other methods, or 0 where it cannot be guarded.</summary>
    /// <param name="address">Its first byte.</param>
    /// <param name="lengthBytes">Its length, in whole pages of the file behind it.</param>
    public static nint TryAdd(nint address, long lengthBytes)
    {
        if (Shared is null)
            return 0;
        lock (Gate)
        {
            for (var i = 0; i < EntriesMax; i++)
            {
                var entry = &Shared->Entries + i;
                if (entry->End != 0)
                    continue;
                entry->Faults = 0;
                Volatile.Write(ref entry->Start, (ulong)address);
                Volatile.Write(ref entry->End, (ulong)(address + lengthBytes));
                if (i >= Shared->Count)
                    Volatile.Write(ref Shared->Count, i + 1);
                return (nint)entry;
            }
        }

        return 0;
    }

    /// <summary>Whether the guarded range lost its memory: what stands there now is nobody's.</summary>
    public static bool HasFaulted(nint guard) => guard != 0 && Volatile.Read(ref ((Entry*)guard)->Faults) != 0;

    /// <summary>Ends a guard, before its range is unmapped.</summary>
    public static void Remove(nint guard)
    {
        if (guard == 0)
            return;
        lock (Gate)
            Volatile.Write(ref ((Entry*)guard)->End, 0);
    }

    private static Table* Install()
    {
        if (RuntimeInformation.ProcessArchitecture != Architecture.X64)
            return null;
        var table = (Table*)NativeMemory.AllocZeroed((nuint)(sizeof(Table) + (EntriesMax * sizeof(Entry))));
        var code = LinuxCall.MapPrivate(CodeBytes);
        *(nint*)code = (nint)table;
        var handler = code + sizeof(nint);
        Handler.CopyTo(new Span<byte>((void*)handler, CodeBytes - sizeof(nint)));
        LinuxCall.MakeExecutable(code, CodeBytes);

        LinuxCall.SignalAction old;
        LinuxCall.SetSignalAction(SignalBus, null, &old);
        // The default action and "ignore" are no functions to go on with.
        table->Old = old.Handler > 1 ? old.Handler : NativeLibrary.GetExport(NativeLibrary.GetMainProgramHandle(), "abort");
        var action = new LinuxCall.SignalAction { Handler = handler, Flags = SignalInformation | OnAlternateStack };
        LinuxCall.SetSignalAction(SignalBus, &action, null);
        return table;
    }

    /// <summary>32 bytes; the handler knows the places.</summary>
    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public ulong Start;
        public ulong End;
        public long Faults;
        public long Unused;
    }

    [StructLayout(LayoutKind.Sequential)]
    private struct Table
    {
        public nint Old;
        public long Count;
        public long Faults;
        public Entry Entries;
    }
}
