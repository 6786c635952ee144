"""Makes the binary files of this folder, most of them wrong on purpose, which the cases beside it name. Standard library
only; run in this folder. The text files were written by hand."""
import gzip
import io
import pathlib
import struct
import zipfile
import zlib


def save(name, data):
    pathlib.Path(name).parent.mkdir(parents=True, exist_ok=True)
    pathlib.Path(name).write_bytes(data)


def packed(data):
    out = io.BytesIO()
    with gzip.GzipFile(fileobj=out, mode="wb", mtime=0) as file:
        file.write(data)
    return out.getvalue()


def idx(kind, dims, data):
    return struct.pack(">HBB", 0, kind, len(dims)) + b"".join(struct.pack(">I", d) for d in dims) + bytes(data)


def npy(descr, shape, data, fortran=False, version=(1, 0)):
    head = f"{{'descr': '{descr}', 'fortran_order': {fortran}, 'shape': {shape}, }}"
    head += " " * (-(10 + len(head) + 1) % 64) + "\n"
    return b"\x93NUMPY" + bytes(version) + struct.pack("<H", len(head)) + head.encode() + data


def floats(*values):
    return struct.pack(f"<{len(values)}f", *values)


def npz(name, members, method=zipfile.ZIP_STORED):
    with zipfile.ZipFile(name, "w", method) as archive:
        for member, data in members.items():
            archive.writestr(zipfile.ZipInfo(member, (2026, 1, 1, 0, 0, 0)), data, method)


ROWS = [0.5 * (i % 5) - 1 for i in range(8 * 4)]  # (8, 4)
LABELS = [0, 1, 2, 0, 1, 2, 0, 1]
X = npy("<f4", (8, 4), floats(*ROWS))
Y = npy("<i8", (8,), struct.pack("<8q", *LABELS))
PIXELS = [(7 * i) % 256 for i in range(8 * 6 * 6)]
IMAGES = idx(8, (8, 6, 6), PIXELS)


def idx_files():
    save("images.idx", IMAGES)
    save("labels.idx", idx(8, (8,), LABELS))
    save("labels-5.idx", idx(8, (5,), LABELS[:5]))
    save("labels-9.idx", idx(8, (8,), [0, 1, 2, 9, 1, 2, 0, 1]))
    save("images-cut.idx", IMAGES[:200])
    save("images-more.idx", IMAGES + b"more")
    save("images-header-cut.idx", IMAGES[:10])
    save("images-magic.idx", b"\x00\x07" + IMAGES[2:])
    save("images-type.idx", b"\x00\x00\x0a" + IMAGES[3:])
    save("images-huge.idx", idx(8, (0xFFFFFFFF, 0xFFFFFFFF, 0xFFFFFFFF), PIXELS))
    save("images-none.idx", idx(8, (0, 6, 6), []))
    save("images-cut.idx.gz", packed(IMAGES)[:-40])
    save("images-crc.idx.gz", packed(IMAGES)[:-8] + b"\1\2\3\4" + packed(IMAGES)[-4:])
    save("empty", b"")


def npy_files():
    save("x.npy", X)
    save("y.npy", Y)
    save("y-7.npy", npy("<i8", (7,), struct.pack("<7q", *LABELS[:7])))
    save("y-negative.npy", npy("<i8", (8,), struct.pack("<8q", *LABELS[:6], -1, 1)))
    save("y-large.npy", npy("<i8", (8,), struct.pack("<8q", *LABELS[:6], 30, 1)))
    save("y-fraction.npy", npy("<f4", (8,), floats(0, 1, 2, 0, 1.5, 2, 0, 1)))
    save("y-rows.npy", npy("<f4", (8, 3), floats(*[1.0 if k == c else 0.0 for c in LABELS for k in range(3)])))
    save("x-cut.npy", X[:-9])
    save("x-header-cut.npy", X[:40])
    save("x-magic.npy", b"NUMPY?" + X[6:])
    save("x-version.npy", npy("<f4", (8, 4), floats(*ROWS), version=(9, 0)))
    save("x-head.npy", npy("<f4", "(8, four)", floats(*ROWS)))
    save("x-object.npy", npy("|O", (8,), b"\x80\x04]\x94."))
    save("x-complex.npy", npy("<c8", (8, 2), floats(*ROWS)))
    save("x-text.npy", npy("<U3", (8,), "abc".encode("utf-32-le") * 8))
    save("x-scalar.npy", npy("<f4", "()", floats(1)))
    save("x-none.npy", npy("<f4", (0, 4), b""))
    save("x-nan.npy", npy("<f4", (8, 4), floats(*ROWS[:21], float("nan"), *ROWS[22:])))
    save("x-inf.npy", npy("<f4", (8, 4), floats(*ROWS[:4], float("inf"), *ROWS[5:])))
    save("x-wide.npy", npy("<f4", (8, 5), floats(*[0.25] * 40)))
    save("x-rank.npy", npy("<f4", (8, 2, 2, 1, 1, 1, 1, 1, 1, 1), floats(*ROWS)))
    save("ids.npy", npy("<i4", (8, 4), struct.pack("<32i", *[i % 12 for i in range(32)])))
    save("ids-negative.npy", npy("<i4", (8, 4), struct.pack("<32i", *[i % 12 for i in range(31)], -3)))


def npz_files():
    npz("good.npz", {"x_train.npy": X, "y_train.npy": Y})
    npz("object.npz", {"x_train.npy": npy("|O", (8,), b"\x80\x04]\x94."), "y_train.npy": Y})
    npz("no-arrays.npz", {"readme.txt": b"nothing here"})
    whole = pathlib.Path("good.npz").read_bytes()
    save("cut.npz", whole[:len(whole) // 2])
    spot = whole.index(floats(*ROWS[:4])) + 2
    save("crc.npz", whole[:spot] + b"\x55" + whole[spot + 1:])


def texts():
    rows = "a,b,c,kind\n" + "".join(f"{i % 5},{(3 * i) % 7},{i % 2},{('cat', 'dog', 'bird')[i % 3]}\n" for i in range(12))
    save("animals.csv.gz", packed(rows.encode()))
    save("cut.csv.gz", packed(rows.encode())[:60])
    save("utf-16.csv", rows.encode("utf-16"))
    save("latin-1.csv", rows.replace("bird", "m\u00f6we").encode("latin-1"))
    save("nul.csv", rows.replace("0,cat", "0,c\0t").encode())
    save("bom.csv", b"\xef\xbb\xbf" + rows.encode())
    save("crlf.csv", rows.replace("\n", "\r\n").encode())
    save("latin-1.txt", ("to be or not to be, that is the question " * 4 + "stra\u00dfe").encode("latin-1"))


def png(seed, width=6, height=6):
    def chunk(kind, data):
        return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))
    rows = b"".join(b"\0" + bytes((37 * seed + 5 * x + 9 * y) % 256 for x in range(3 * width)) for y in range(height))
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, 8, 2, 0, 0, 0)) + chunk(b"IDAT", zlib.compress(rows)) +
            chunk(b"IEND", b""))


def image_folders():
    for n, name in enumerate(("cat/1.png", "cat/2.png", "dog/1.png", "dog/2.png")):
        save(f"pictures/{name}", png(n))
        save(f"broken/{name}", png(n))
    save("broken/cat/2.png", png(1)[:-30])
    save("broken/dog/2.jpg", b"<html>404</html>")
    save("broken/dog/3.jpg", b"")
    save("other/cat/1.png", png(4))
    save("other/wolf/1.png", png(5))
    save("flat/1.png", png(6))
    save("scans/cat/1.tiff", b"II*\0")


idx_files()
npy_files()
npz_files()
texts()
image_folders()
