"""Makes the seeds of fuzz_h5_bytes.c (its input is described there). Run in this folder."""
import struct
import zlib

DEFLATE, SHUFFLE, FLETCHER32 = 0, 1, 2  # places in the target's list


def fletcher32(data):
    s1 = s2 = 0
    for i in range(0, len(data) - len(data) % 2, 2):
        s1 = (s1 + (data[i] << 8 | data[i + 1])) % 65535
        s2 = (s2 + s1) % 65535
    if len(data) % 2:
        s1 = (s1 + (data[-1] << 8)) % 65535
        s2 = (s2 + s1) % 65535
    return struct.pack("<I", s2 << 16 | s1)


def shuffle(data, size):
    return b"".join(data[b::size] for b in range(size))


def seed(name, kind, width, size, big, wanted, dim, chunk, filters, masks):
    places, left = [], [DEFLATE, SHUFFLE, FLETCHER32]
    for i, f in enumerate(filters):
        at = left.index(f)
        places.append(at)
        left[at] = left[2 - i]
    head = bytes([kind, width, big, wanted, len(dim) - 1]) + bytes(d - 1 for d in dim) + bytes(c - 1 for c in chunk)
    head += bytes([len(filters)] + places)
    grid, count = 1, 1
    for d, c in zip(dim, chunk):
        grid *= (d + c - 1) // c
        count *= c
    body = b""
    for n in range(grid):
        mask = masks[n % len(masks)]
        if mask == 255:
            head += b"\xff"
            continue
        data = bytes((n + i) % 100 for i in range(count * size))
        for i, f in enumerate(filters):
            if not mask >> i & 1:
                data = {DEFLATE: lambda d: zlib.compress(d), SHUFFLE: lambda d: shuffle(d, size),
                        FLETCHER32: lambda d: d + fletcher32(d)}[f](data)
        head += bytes([mask << 5])
        if any(f == DEFLATE and not mask >> i & 1 for i, f in enumerate(filters)):
            head += struct.pack("<H", len(data))
        body += data
    open(f"seeds/h5_bytes/{name}", "wb").write(head + body)


seed("plain_u8", 1, 0, 1, 0, 4, [7], [3], [], [0])
seed("deflate_i16", 0, 1, 2, 0, 7, [5, 4], [2, 3], [DEFLATE], [0])
seed("all_f32", 2, 1, 4, 0, 0, [5, 3, 2], [2, 2, 2], [SHUFFLE, DEFLATE, FLETCHER32], [0])
seed("sum_first_f64_big", 2, 2, 8, 1, 1, [6], [4], [FLETCHER32, SHUFFLE, DEFLATE], [0, 255])
seed("masked_u16", 1, 1, 2, 0, 0, [9, 2], [2, 2], [SHUFFLE, DEFLATE], [0, 1, 2, 3])
seed("half_to_double", 2, 0, 2, 0, 1, [11], [4], [SHUFFLE], [0])
seed("bfloat", 3, 0, 2, 1, 3, [4, 3], [4, 3], [DEFLATE], [0, 255])
seed("i64_to_u8", 0, 3, 8, 0, 4, [3], [1], [FLETCHER32], [0])
