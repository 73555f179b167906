namespace CowScsi.Tests.Property;

/// <summary>Bytes made from a number: noise, text that shrinks to little, nearly nothing, and zeros, in runs of their own.</summary>
internal static class Content
{
    public static void Fill(Span<byte> bytes, int seed)
    {
        var random = new Random(seed);
        if (random.Next(12) == 0)
        {
            bytes.Clear();
            return;
        }

        for (var at = 0; at < bytes.Length;)
        {
            var run = bytes[at..Math.Min(bytes.Length, at + (random.Next(1, 40) * 512))];
            switch (random.Next(4))
            {
                case 0:
                    run.Clear();
                    break;
                case 1:
                    run.Fill((byte)random.Next(1, 256));
                    break;
                case 2:
                    for (var i = 0; i < run.Length; i++)
                        run[i] = (byte)((i % 61) + (seed & 0x3F));
                    break;
                default:
                    random.NextBytes(run);
                    break;
            }

            at += run.Length;
        }
    }
}
