using System.Reflection;
using System.Runtime.Loader;
using Mono.Cecil;
using Mono.Cecil.Cil;
using Mono.Cecil.Rocks;
using MethodBody = Mono.Cecil.Cil.MethodBody;

namespace CowScsi.Tests.Fuzz;

/// <summary>
/// The product's assemblies with a call to <see cref="BranchMap.Hit"/> at each basic block, in a load context of their own, together with a
/// second copy of this assembly that is bound to them. Only strings and numbers cross the border between the two copies.
/// </summary>
internal sealed class Instrumented : AssemblyLoadContext
{
    private static readonly string[] Names = ["CowScsi.Engine", "CowScsi.Layers", "CowScsi.Scsi", "CowScsi.Iscsi", "CowScsi.VhostUser", "vdisk"];

    private readonly Dictionary<string, Assembly> loaded = new(StringComparer.Ordinal);

    public Instrumented()
        : base("instrumented")
    {
        var block = 0;
        foreach (var name in Names)
        {
            using var stream = new MemoryStream();
            Instrument(Path.Combine(AppContext.BaseDirectory, name + ".dll"), stream, ref block);
            stream.Position = 0;
            loaded[name] = LoadFromStream(stream);
        }

        Blocks = block;
        Fuzz = Load("CowScsi.Tests.Fuzz");
    }

    /// <summary>Basic blocks that can be seen.</summary>
    public int Blocks { get; }

    /// <summary>The second copy of this assembly.</summary>
    public Assembly Fuzz { get; }

    protected override Assembly? Load(AssemblyName assemblyName) => loaded.GetValueOrDefault(assemblyName.Name ?? "");

    private Assembly Load(params ReadOnlySpan<string> names)
    {
        Assembly last = null!;
        foreach (var name in names)
            loaded[name] = last = LoadFromAssemblyPath(Path.Combine(AppContext.BaseDirectory, name + ".dll"));
        return last;
    }

    private static void Instrument(string path, Stream target, ref int block)
    {
        using var resolver = new DefaultAssemblyResolver();
        resolver.AddSearchDirectory(AppContext.BaseDirectory);
        using var assembly = AssemblyDefinition.ReadAssembly(path, new ReaderParameters { AssemblyResolver = resolver });
        var hit = assembly.MainModule.ImportReference(typeof(BranchMap).GetMethod(nameof(BranchMap.Hit)));
        foreach (var type in assembly.MainModule.GetTypes())
        {
            foreach (var method in type.Methods)
            {
                if (method.HasBody)
                    Instrument(method.Body, hit, ref block);
            }
        }

        assembly.Write(target);
    }

    private static void Instrument(MethodBody body, MethodReference hit, ref int block)
    {
        body.SimplifyMacros();
        var leaders = new HashSet<Instruction> { body.Instructions[0] };
        foreach (var instruction in body.Instructions)
        {
            if (instruction.Operand is Instruction goal)
                leaders.Add(goal);
            else if (instruction.Operand is Instruction[] goals)
                leaders.UnionWith(goals);
            if (instruction.OpCode.FlowControl == FlowControl.Cond_Branch && instruction.Next is not null)
                leaders.Add(instruction.Next);
        }

        var processor = body.GetILProcessor();
        var moved = new Dictionary<Instruction, Instruction>();
        foreach (var leader in leaders)
        {
            // Prefixes belong to the instruction behind them.
            if (leader.Previous?.OpCode.OpCodeType == OpCodeType.Prefix)
                continue;
            var first = processor.Create(OpCodes.Ldc_I4, Spread(block++));
            processor.InsertBefore(leader, first);
            processor.InsertBefore(leader, processor.Create(OpCodes.Call, hit));
            moved[leader] = first;
        }

        Redirect(body, moved);
        body.OptimizeMacros();
    }

    private static void Redirect(MethodBody body, Dictionary<Instruction, Instruction> moved)
    {
        Instruction To(Instruction old) => old is not null && moved.TryGetValue(old, out var first) ? first : old!;
        foreach (var instruction in body.Instructions)
        {
            if (instruction.Operand is Instruction goal)
                instruction.Operand = To(goal);
            else if (instruction.Operand is Instruction[] goals)
                instruction.Operand = Array.ConvertAll(goals, To);
        }

        foreach (var handler in body.ExceptionHandlers)
        {
            handler.TryStart = To(handler.TryStart);
            handler.TryEnd = To(handler.TryEnd);
            handler.HandlerStart = To(handler.HandlerStart);
            handler.HandlerEnd = To(handler.HandlerEnd);
            handler.FilterStart = To(handler.FilterStart);
        }
    }

    /// <summary>Numbers that follow each other would meet in the map: the golden ratio spreads them.</summary>
    private static int Spread(int block) => (int)((uint)block * 2654435769U >> 4);
}
