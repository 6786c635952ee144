"""Makes classes/ (small images of every form that is read) and golden.npz, what keras.utils.image_dataset_from_directory makes of them.

Needs TensorFlow, Keras and Pillow; made with tensorflow 2.21.0, keras 3.15.1, Pillow 13.0.0: python make.py
"""

import io
import pathlib
import shutil
import struct
import zlib

import numpy as np
from PIL import Image

HERE = pathlib.Path(__file__).parent
TREE = HERE / "classes"
HEIGHT, WIDTH = 7, 9


def picture(height, width, seed):
    """Smooth colours with some noise: (height, width, 4)."""
    rng = np.random.default_rng(seed)
    y, x = np.mgrid[0:height, 0:width]
    planes = [128 + 110 * np.sin((c + 1) * 0.31 * x + (3 - c) * 0.27 * y + seed) for c in range(4)]
    return np.clip(np.stack(planes, -1) + rng.integers(-9, 10, (height, width, 4)), 0, 255).astype(np.uint8)


def chunk(kind, data):
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width, height, depth, color, rows, interlace=0, extra=b""):
    """A PNG by hand: rows are bytes without their filter byte."""
    raw = b"".join(b"\0" + row for row in rows)
    return (b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, color, 0, 0, interlace)) + extra +
            chunk(b"IDAT", zlib.compress(raw, 9)) + chunk(b"IEND", b""))


def interlaced(pixels):
    """Adam7."""
    height, width, _ = pixels.shape
    rows = []
    for y0, x0, dy, dx in ((0, 0, 8, 8), (0, 4, 8, 8), (4, 0, 8, 4), (0, 2, 4, 4), (2, 0, 4, 2), (0, 1, 2, 2), (1, 0, 2, 1)):
        part = pixels[y0::dy, x0::dx]
        rows += [row.tobytes() for row in part] if part.size else []
    return png(width, height, 8, 2, rows, interlace=1)


def save(name, image, **options):
    out = io.BytesIO()
    image.save(out, "PNG" if name.lower().endswith("png") else "JPEG", **options)
    put(name, out.getvalue())


def put(name, data):
    path = TREE / name
    path.parent.mkdir(parents=True, exist_ok=True)
    path.write_bytes(data)


def make_tree():
    shutil.rmtree(TREE, ignore_errors=True)
    p = [picture(HEIGHT, WIDTH, seed) for seed in range(16)]
    rgb = [Image.fromarray(q[..., :3]) for q in p]
    save("ape/baseline.jpg", rgb[0], quality=90)
    save("ape/full.jpeg", rgb[1], quality=95, subsampling=0)
    save("ape/grey.JPG", rgb[2].convert("L"), quality=90)
    save("ape/progressive.jpg", rgb[3], quality=90, progressive=True, subsampling=2)
    save("ape/turned.jpg", rgb[4], quality=90, exif=b"Exif\0\0II*\0\x08\0\0\0\x01\0\x12\x01\x03\0\x01\0\0\0\x06\0\0\0\0\0\0\0")
    save("bee/grey.png", rgb[5].convert("L"))
    save("bee/inside/deep.PNG", rgb[6])
    put("bee/interlaced.png", interlaced(p[7][..., :3]))
    save("bee/palette.png", rgb[8].quantize(13))
    save("bee/rgb.png", rgb[9])
    wide = p[10].astype(np.uint16) << 8 | p[11]
    put("cow/16-rgb.png", png(WIDTH, HEIGHT, 16, 2, [row.astype(">u2").tobytes() for row in wide[..., :3]]))
    put("cow/16-grey.png", png(WIDTH, HEIGHT, 16, 0, [row.astype(">u2").tobytes() for row in wide[..., 0]]))
    save("cow/bits.png", rgb[12].convert("1"))
    save("cow/clear.png", rgb[13].quantize(11), transparency=bytes(range(3, 200, 19)))
    save("cow/grey-alpha.png", Image.fromarray(p[14]).convert("LA"))
    save("cow/rgba.png", Image.fromarray(p[15]))
    save("dog/adobe.jpg", Image.fromarray(picture(HEIGHT, WIDTH, 16), "CMYK"), quality=95)
    save("elk/large.jpg", Image.fromarray(picture(40, 61, 17)[..., :3]), quality=90)
    save("elk/one.png", Image.fromarray(picture(1, 1, 18)[..., :3]))
    save("elk/tall.png", Image.fromarray(picture(17, 5, 19)[..., :3]))
    save("elk/wide.png", Image.fromarray(picture(4, 15, 20)[..., :3]))


def main():
    make_tree()
    import keras

    def read(size, classes=None, **options):
        data = keras.utils.image_dataset_from_directory(str(TREE), class_names=classes, image_size=size, batch_size=None, shuffle=False,
                                                        verbose=False, **options)
        pairs = [(np.asarray(x), int(y)) for x, y in data]
        return np.stack([x for x, _ in pairs]).astype(np.float32), np.array([y for _, y in pairs], np.int32)

    arrays = {}
    arrays["native"], arrays["native_labels"] = read((HEIGHT, WIDTH), ["ape", "bee", "cow", "dog"])
    arrays["resized"], arrays["resized_labels"] = read((8, 6))
    arrays["larger"], _ = read((23, 31), ["elk"])
    arrays["nearest"], _ = read((8, 6), interpolation="nearest")
    arrays["crop"], _ = read((6, 8), crop_to_aspect_ratio=True)
    arrays["pad"], _ = read((6, 8), pad_to_aspect_ratio=True)
    arrays["rgba"], arrays["rgba_labels"] = read((HEIGHT, WIDTH), ["cow", "bee"], color_mode="rgba")
    # where a PNG has no alpha and fewer than 8 bits, TensorFlow makes it the largest number of so many bits: 15, 1
    alpha = arrays["rgba"][..., 3]
    alpha[alpha.min(axis=(1, 2)) == alpha.max(axis=(1, 2))] = 255
    arrays["grey_jpeg"], _ = read((HEIGHT, WIDTH), ["ape"], color_mode="grayscale")
    # TensorFlow takes the weights of red and blue for those of red and green where a PNG becomes grey; Pillow's are those of JPEG
    colours, _ = read((HEIGHT, WIDTH), ["bee", "cow"])
    arrays["grey_png"] = np.stack([np.asarray(Image.fromarray(x.astype(np.uint8)).convert("L"))[..., None] for x in colours]).astype(np.float32)
    np.savez_compressed(HERE / "golden.npz", **arrays)
    for name, array in arrays.items():
        print(name, array.shape, float(array.mean()))


if __name__ == "__main__":
    main()
