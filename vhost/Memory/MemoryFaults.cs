using System.Runtime.InteropServices;
using CowScsi.VhostUser.Native;

namespace CowScsi.VhostUser.Memory;

/// <summary>
/// Survives a front end that makes the file behind its guest's memory shorter while it is mapped. An access behind the end is then a
/// SIGBUS, which would end the process and every other guest's disks with it.
/// </summary>
/// <remarks>
/// <para>A few machine instructions handle that signal: they look the address up in a table of the mapped regions, put a page of private
/// memory where the hole is, count it and return, so that the access is done again and succeeds. The page's contents are nobody's: the
/// front end that took its memory away is cut off as soon as a queue sees the count. An address that is in no region goes to whoever
/// handled the signal before, which is the runtime. Managed code cannot do this, since the signal may interrupt managed code.</para>
/// <para>The instructions are for x86-64. On other processors <see cref="IsGuarded"/> is false, and only memory that cannot be made shorter
/// (sealed against it) is taken.</para>
/// </remarks>
internal static unsafe class MemoryFaults
{
    private const int SignalBus = 7;
    private const int SignalInformation = 4;
    private const int OnAlternateStack = 0x0800_0000;
    private const int CodeBytes = 4096;

    /// <summary>Regions of all guests together. Beyond that a region must be sealed.</summary>
    private const int EntriesMax = 8192;

    private static readonly Lock Gate = new();
    private static readonly Table* Shared = Install();

    /// <summary>
    /// handler(signal: edi, siginfo: rsi, context: rdx). The eight bytes in front of the code hold the table's address. Registers: rcx the
    /// address that faulted, rbx the table, rax the entry, rdx the end of the entries.
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
        0x48, 0x6b, 0xd2, 0x18,                                        // imul $0x18,%rdx,%rdx
        0x48, 0x01, 0xc2,                                              // add %rax,%rdx
        0x48, 0x39, 0xd0,                                              // next: cmp %rdx,%rax
        0x74, 0x42,                                                    // je chain
        0x48, 0x8b, 0x30,                                              // mov (%rax),%rsi
        0x48, 0x39, 0xf1,                                              // cmp %rsi,%rcx
        0x72, 0x09,                                                    // jb other
        0x48, 0x8b, 0x70, 0x08,                                        // mov 0x8(%rax),%rsi
        0x48, 0x39, 0xf1,                                              // cmp %rsi,%rcx
        0x72, 0x06,                                                    // jb inside
        0x48, 0x83, 0xc0, 0x18,                                        // other: add $0x18,%rax
        0xeb, 0xe4,                                                    // jmp next
        0x48, 0x8b, 0x70, 0x10,                                        // inside: mov 0x10(%rax),%rsi
        0x49, 0x83, 0xc8, 0xff,                                        // or $0xffffffffffffffff,%r8
        0x45, 0x31, 0xc9,                                              // xor %r9d,%r9d
        0xb8, 0x09, 0x00, 0x00, 0x00,                                  // mov $0x9,%eax
        0x41, 0xba, 0x32, 0x00, 0x00, 0x00,                            // mov $0x32,%r10d
        0xba, 0x03, 0x00, 0x00, 0x00,                                  // mov $0x3,%edx
        0x48, 0x89, 0xf7,                                              // mov %rsi,%rdi
        0x48, 0xf7, 0xdf,                                              // neg %rdi
        0x48, 0x21, 0xcf,                                              // and %rcx,%rdi
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
        0xf0, 0x48, 0xff, 0x43, 0x10,                                  // mended: lock incq 0x10(%rbx)
        0x5b,                                                          // pop %rbx
        0x5d,                                                          // pop %rbp
        0x41, 0x5c,                                                    // pop %r12
        0x41, 0x5d,                                                    // pop %r13
        0xc3,                                                          // ret
    ];

    /// <summary>Whether regions can be guarded on this processor.</summary>
    public static bool IsGuarded => Shared is not null;

    /// <summary>Pages that were put where memory was taken away, in the life of the process, for all guests.</summary>
    public static long Count => Shared is null ? 0 : Volatile.Read(ref Shared->Faults);

    /// <summary>Guards a mapped range from now on; false where it cannot be.</summary>
    /// <param name="address">Its first byte.</param>
    /// <param name="lengthBytes">Its length.</param>
    /// <param name="pageBytes">The page size of the file behind it.</param>
    public static bool TryAdd(nint address, long lengthBytes, long pageBytes)
    {
        if (Shared is null)
            return false;
        lock (Gate)
        {
            for (var i = 0; i < EntriesMax; i++)
            {
                var entry = &Shared->Entries + i;
                if (entry->End != 0)
                    continue;
                entry->PageBytes = (ulong)pageBytes;
                entry->Start = (ulong)address;
                // The handler reads the end last: until it is set, the entry holds no address.
                Volatile.Write(ref entry->End, (ulong)(address + lengthBytes));
                if (i >= Shared->Count)
                    Volatile.Write(ref Shared->Count, i + 1);
                return true;
            }
        }

        return false;
    }

    /// <summary>Ends the guard of the range that starts at <paramref name="address"/>, before it is unmapped.</summary>
    public static void Remove(nint address)
    {
        if (Shared is null)
            return;
        lock (Gate)
        {
            for (var i = 0; i < Shared->Count; i++)
            {
                var entry = &Shared->Entries + i;
                if (entry->End != 0 && entry->Start == (ulong)address)
                {
                    Volatile.Write(ref entry->End, 0);
                    return;
                }
            }
        }
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

    [StructLayout(LayoutKind.Sequential)]
    private struct Entry
    {
        public ulong Start;
        public ulong End;
        public ulong PageBytes;
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
