using System.Globalization;
using System.Reflection;
using System.Text;

namespace CowScsi.Tests.Unit.Library;

/// <summary>
/// What an assembly offers to programs that reference it, as text: one line a type, one a member, in ordinal order, so that a change is a
/// change of lines. Members that every record, enum or delegate has by itself are left out.
/// </summary>
internal static class PublicApi
{
    private const BindingFlags Declared =
        BindingFlags.Public | BindingFlags.NonPublic | BindingFlags.Instance | BindingFlags.Static | BindingFlags.DeclaredOnly;

    private static readonly NullabilityInfoContext Nullability = new();

    private static readonly Dictionary<Type, string> Keywords = new()
    {
        [typeof(void)] = "void", [typeof(bool)] = "bool", [typeof(byte)] = "byte", [typeof(sbyte)] = "sbyte", [typeof(short)] = "short",
        [typeof(ushort)] = "ushort", [typeof(int)] = "int", [typeof(uint)] = "uint", [typeof(long)] = "long", [typeof(ulong)] = "ulong",
        [typeof(nint)] = "nint", [typeof(nuint)] = "nuint", [typeof(char)] = "char", [typeof(float)] = "float", [typeof(double)] = "double",
        [typeof(decimal)] = "decimal", [typeof(string)] = "string", [typeof(object)] = "object",
    };

    public static string Print(Assembly assembly)
    {
        var text = new StringBuilder();
        foreach (var type in assembly.GetExportedTypes().OrderBy(type => type.FullName, StringComparer.Ordinal))
        {
            text.Append(Heading(type)).Append('\n');
            foreach (var line in Members(type).Order(StringComparer.Ordinal))
                text.Append("    ").Append(line).Append('\n');
            text.Append('\n');
        }

        return text.ToString().TrimEnd('\n') + "\n";
    }

    private static string Heading(Type type)
    {
        var kind = type switch
        {
            { IsEnum: true } => $"enum : {Name(Enum.GetUnderlyingType(type))}",
            { IsValueType: true } => (IsReadOnly(type) ? "readonly " : "") + (type.IsByRefLike ? "ref " : "") + (IsRecord(type) ? "record struct" : "struct"),
            { IsInterface: true } => "interface",
            _ when typeof(Delegate).IsAssignableFrom(type) => "delegate",
            { IsAbstract: true, IsSealed: true } => "static class",
            _ => (type.IsAbstract ? "abstract " : type.IsSealed ? "sealed " : "") + (IsRecord(type) ? "record" : "class"),
        };
        var above = new List<string>();
        if (type is { IsValueType: false, BaseType: { } parent } && parent != typeof(object) && parent != typeof(MulticastDelegate))
            above.Add(Name(parent));
        if (!type.IsEnum && kind != "delegate")
        {
            var inherited = type.BaseType?.GetInterfaces() ?? [];
            above.AddRange(type.GetInterfaces()
                .Where(face => face.IsPublic && !inherited.Contains(face) && !(face.IsGenericType && face.GetGenericTypeDefinition() == typeof(IEquatable<>)))
                .Select(face => Name(face)).Order(StringComparer.Ordinal));
        }

        return $"{type.Namespace}.{Name(type)}: {kind}{(above.Count > 0 ? " : " + string.Join(", ", above) : "")}";
    }

    private static IEnumerable<string> Members(Type type)
    {
        if (type.IsEnum)
        {
            foreach (var name in Enum.GetNames(type))
                yield return $"{name} = {Convert.ToInt64(Enum.Parse(type, name), CultureInfo.InvariantCulture)}";
            yield break;
        }

        var accessors = type.GetProperties(Declared).SelectMany(property => property.GetAccessors(nonPublic: true))
            .Concat(type.GetEvents(Declared).SelectMany(happening => new[] { happening.AddMethod!, happening.RemoveMethod! })).ToHashSet();
        foreach (var field in type.GetFields(Declared).Where(field => IsSeen(field.IsPublic, field.IsFamily || field.IsFamilyOrAssembly, type)))
        {
            var kind = field.IsLiteral ? "const " : (field.IsStatic ? "static " : "") + (field.IsInitOnly ? "readonly " : "");
            yield return $"{kind}{Typed(field.FieldType, Nullability.Create(field))} {field.Name}{(field.IsLiteral ? " = " + Literal(field.GetRawConstantValue()) : "")}";
        }

        foreach (var constructor in type.GetConstructors(Declared).Where(method => IsSeen(method, type) && !method.IsStatic && !IsMadeByRecord(method, type)))
            yield return $"{Modifiers(constructor)}{type.Name.Split('`')[0]}({Parameters(constructor)})";
        foreach (var property in type.GetProperties(Declared))
        {
            if (property.Name == "EqualityContract" || !property.GetAccessors(nonPublic: true).Any(accessor => IsSeen(accessor, type)))
                continue;
            var first = property.GetAccessors(nonPublic: true).First(accessor => IsSeen(accessor, type));
            var index = property.GetIndexParameters().Length > 0 ? $"this[{Parameters(property.GetMethod!)}]" : property.Name;
            yield return $"{Modifiers(first)}{Required(property)}{Typed(property.PropertyType, Nullability.Create(property))} {index} {{ {Accessors(property, type)}}}";
        }

        foreach (var happening in type.GetEvents(Declared).Where(happening => IsSeen(happening.AddMethod!, type)))
            yield return $"{Modifiers(happening.AddMethod!)}event {Name(happening.EventHandlerType!)} {happening.Name}";
        foreach (var method in type.GetMethods(Declared).Where(method => IsSeen(method, type) && !accessors.Contains(method) && !IsMadeByCompiler(method, type)))
        {
            var generic = method.IsGenericMethodDefinition ? $"<{string.Join(", ", method.GetGenericArguments().Select(argument => argument.Name))}>" : "";
            yield return $"{Modifiers(method)}{Typed(method.ReturnType, Nullability.Create(method.ReturnParameter))} {method.Name}{generic}({Parameters(method)})";
        }
    }

    private static bool IsSeen(MethodBase method, Type type) => IsSeen(method.IsPublic, method.IsFamily || method.IsFamilyOrAssembly, type);

    private static bool IsSeen(bool isPublic, bool isProtected, Type type) => isPublic || (isProtected && !type.IsSealed);

    private static bool IsRecord(Type type) => type.GetMethod("PrintMembers", Declared) is not null || type.GetMethod("<Clone>$", Declared) is not null;

    private static bool IsReadOnly(Type type) => type.CustomAttributes.Any(attribute => attribute.AttributeType.Name == "IsReadOnlyAttribute");

    private static bool IsMadeByRecord(ConstructorInfo constructor, Type type) =>
        IsRecord(type) && constructor.GetParameters() is [var only] && only.ParameterType == type;

    private static bool IsMadeByCompiler(MethodInfo method, Type type) =>
        method.Name.Contains('<', StringComparison.Ordinal) || method.Name == "Finalize" || (typeof(Delegate).IsAssignableFrom(type) && method.Name != "Invoke") ||
        (IsRecord(type) && (method.Name is "PrintMembers" or "GetHashCode" or "Deconstruct" or "op_Equality" or "op_Inequality" or "Equals" ||
            (method.Name == "ToString" && method.CustomAttributes.Any(attribute => attribute.AttributeType.Name == "CompilerGeneratedAttribute"))));

    private static string Modifiers(MethodBase method)
    {
        if (method.DeclaringType!.IsInterface && !method.IsStatic)
            return "";
        var text = method.IsPublic ? "" : "protected ";
        if (method.IsStatic)
            text += "static ";
        if (method is not MethodInfo info || !info.IsVirtual)
            return text;
        if (info.GetBaseDefinition() != info)
            return text + (info.IsFinal ? "sealed override " : "override ");
        return info.IsFinal ? text : text + (info.IsAbstract ? "abstract " : "virtual ");
    }

    private static string Accessors(PropertyInfo property, Type type)
    {
        var text = "";
        if (property.GetMethod is { } get && IsSeen(get, type))
            text += "get; ";
        if (property.SetMethod is { } set && IsSeen(set, type))
            text += set.ReturnParameter.GetRequiredCustomModifiers().Length > 0 ? "init; " : "set; ";
        return text;
    }

    private static string Required(PropertyInfo property) =>
        property.CustomAttributes.Any(attribute => attribute.AttributeType.Name == "RequiredMemberAttribute") ? "required " : "";

    private static string Parameters(MethodBase method) => string.Join(", ", method.GetParameters().Select(parameter =>
    {
        var by = parameter.IsOut ? "out " : parameter.IsIn ? "in " : parameter.ParameterType.IsByRef ? "ref " : "";
        if (parameter.CustomAttributes.Any(attribute => attribute.AttributeType.Name is "ParamArrayAttribute" or "ParamCollectionAttribute"))
            by = "params ";
        var type = parameter.ParameterType.IsByRef ? parameter.ParameterType.GetElementType()! : parameter.ParameterType;
        return $"{by}{Typed(type, Nullability.Create(parameter))} {parameter.Name}{(parameter.HasDefaultValue ? " = " + Literal(parameter.RawDefaultValue) : "")}";
    }));

    private static string Literal(object? value) => value switch
    {
        null => "null",
        bool flag => flag ? "true" : "false",
        string text => $"\"{text}\"",
        char one => $"'{one}'",
        _ => Convert.ToString(value, CultureInfo.InvariantCulture)!,
    };

    private static string Typed(Type type, NullabilityInfo nullability) =>
        Name(type) + (!type.IsValueType && nullability.ReadState == NullabilityState.Nullable ? "?" : "");

    private static string Name(Type type)
    {
        if (Keywords.TryGetValue(type, out var keyword))
            return keyword;
        if (type.IsByRef)
            return "ref " + Name(type.GetElementType()!);
        if (type.IsArray)
            return Name(type.GetElementType()!) + "[]";
        if (type.IsPointer)
            return Name(type.GetElementType()!) + "*";
        if (Nullable.GetUnderlyingType(type) is { } inner)
            return Name(inner) + "?";
        var name = type.IsNested && !type.IsGenericParameter ? $"{Name(type.DeclaringType!)}.{type.Name}" : type.Name;
        return type.IsGenericType ? $"{name.Split('`')[0]}<{string.Join(", ", type.GetGenericArguments().Select(Name))}>" : name;
    }
}
