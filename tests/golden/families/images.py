"""Families images and warps: the layers for images where nothing is left to chance, and affine sampling by itself.

A factor [f, f] draws f for every image, so that training mode is compared too, with its gradients. Factors are multiples of
1/64: places are then exact in float32. Those of a rotation are not, and a pixel may differ from its neighbour by 4: hence
their tolerance.
"""

import numpy as np

from .common import Family, layer_case, rng

FILLS = ("constant", "nearest", "reflect", "wrap")
INTERPOLATIONS = ("bilinear", "nearest")


def floats(*shape):
    return {"shape": list(shape), "dtype": "float32"}


TURNED = {"tolerance": 3e-5}


def moved(f, kind, tag, hints=None, **params):
    """A layer that moves images by fixed factors, with every fill mode and interpolation."""
    for fill in FILLS:
        for interpolation in INTERPOLATIONS:
            more = {"fill_mode": fill, "interpolation": interpolation}
            if fill == "constant":
                more["fill_value"] = 0.75
            layer = {kind: {**params, **more}}
            f.add(f"{tag}_{fill}_{interpolation}", input=floats(2, 5, 6, 2), layers=[layer], **(hints or {}))


def images():
    f = Family("images", "Layers for images: fixed factors in training mode, sizes, inference.")
    moved(f, "RandomTranslation", "translation", height_factor=[0.234375, 0.234375], width_factor=[-0.3125, -0.3125])
    moved(f, "RandomZoom", "zoom_out", height_factor=[0.375, 0.375], width_factor=[0.828125, 0.828125])
    moved(f, "RandomZoom", "zoom_in", height_factor=[-0.28125, -0.28125])
    moved(f, "RandomRotation", "rotation", TURNED, factor=[0.07, 0.07])
    moved(f, "RandomRotation", "rotation_back", TURNED, factor=[-0.39, -0.39])
    first = {"data_format": "channels_first"}
    far = {"height_factor": [-0.921875, -0.921875], "width_factor": [0.96875, 0.96875]}
    f.add("translation_far", input=floats(2, 3, 4, 3), layers=[{"RandomTranslation": far}])
    wrapped = {**far, "fill_mode": "wrap"}
    f.add("translation_wrapped_far", input=floats(2, 3, 4, 3), layers=[{"RandomTranslation": wrapped}])
    whole = {"height_factor": [0.25, 0.25], "width_factor": [0.5, 0.5]}
    f.add("translation_whole", input=floats(2, 4, 4, 1), layers=[{"RandomTranslation": whole}])
    down = {"height_factor": [0.296875, 0.296875], **first}
    shape = floats(2, 3, 5, 4)
    f.add("translation_channels_first", input=shape, layers=[{"RandomTranslation": {"width_factor": 0.0, **down}}])
    f.add("zoom_channels_first", input=shape, layers=[{"RandomZoom": down}])
    turned = {"factor": [0.2, 0.2], **first}
    f.add("rotation_channels_first", input=shape, layers=[{"RandomRotation": turned}], **TURNED)
    f.add(
        "translation_between_convolutions",
        input=floats(2, 6, 7, 2),
        layers=[
            {"Conv2D": {"filters": 3, "kernel_size": 2}},
            {"RandomTranslation": {"height_factor": [0.15625, 0.15625], "width_factor": [0.40625, 0.40625]}},
            {"RandomRotation": {"factor": [0.05, 0.05], "fill_mode": "nearest"}},
            {"Conv2D": {"filters": 2, "kernel_size": 3}},
        ],
        **TURNED,
    )
    # cropped in training: at a fixed place, as the images are not larger along both axes
    for tag, shape, size in [
        ("rows", (2, 4, 7, 2), (4, 3)),
        ("columns", (2, 9, 4, 2), (2, 4)),
        ("small", (2, 3, 3, 1), (5, 2)),
        ("smaller", (2, 4, 6, 2), (9, 7)),
        ("tall", (2, 10, 10, 1), (12, 6)),
        ("wide", (2, 5, 11, 1), (3, 12)),
        ("same", (2, 3, 4, 1), (3, 4)),
    ]:
        layer = {"RandomCrop": {"height": size[0], "width": size[1]}}
        f.add(f"random_crop_{tag}", input=floats(*shape), layers=[layer], _out=(shape[0], *size, shape[3]))
    layer = {"RandomCrop": {"height": 4, "width": 3, **first}}
    f.add("random_crop_channels_first", input=floats(2, 3, 4, 5), layers=[layer], _out=(2, 3, 4, 3))
    for tag, shape, size in [
        ("even", (2, 6, 8, 2), (2, 4)),
        ("odd", (2, 5, 8, 1), (2, 3)),
        ("small", (2, 3, 3, 1), (5, 2)),
        ("wide", (2, 4, 7, 2), (6, 6)),
        ("tall", (2, 9, 2, 1), (4, 3)),
        ("same", (2, 3, 4, 1), (3, 4)),
    ]:
        layer = {"CenterCrop": {"height": size[0], "width": size[1]}}
        f.add(f"center_crop_{tag}", input=floats(*shape), layers=[layer])
    layer = {"CenterCrop": {"height": 3, "width": 2, **first}}
    f.add("center_crop_channels_first", input=floats(2, 3, 6, 5), layers=[layer])
    for tag, shape, size in [
        ("up", (2, 3, 4, 2), (7, 9)),
        ("down", (2, 9, 10, 1), (4, 3)),
        ("mixed", (2, 5, 3, 2), (2, 8)),
        ("from_one", (2, 1, 1, 2), (3, 2)),
        ("to_one", (2, 5, 4, 1), (1, 1)),
        ("half", (2, 8, 6, 1), (4, 3)),
        ("twice", (2, 2, 3, 1), (4, 6)),
    ]:
        for interpolation in INTERPOLATIONS:
            layer = {"height": size[0], "width": size[1], "interpolation": interpolation}
            f.add(f"resizing_{tag}_{interpolation}", input=floats(*shape), layers=[{"Resizing": layer}])
    for tag, shape, size in [
        ("tall", (2, 9, 4, 2), (4, 4)),
        ("wide", (2, 3, 8, 1), (5, 6)),
        ("odd", (2, 5, 6, 1), (3, 7)),
    ]:
        for way in ("crop_to_aspect_ratio", "pad_to_aspect_ratio"):
            layer = {"height": size[0], "width": size[1], way: True, "fill_value": 0.5}
            f.add(f"resizing_{way}_{tag}", input=floats(*shape), layers=[{"Resizing": layer}])
    layer = {"Resizing": {"height": 6, "width": 2, **first}}
    f.add("resizing_channels_first", input=floats(2, 3, 4, 5), layers=[layer])
    for interpolation in INTERPOLATIONS:
        f.add(
            f"resizing_bytes_{interpolation}",
            input={"shape": [2, 5, 7, 2], "dtype": "uint8", "below": 256},
            layers=[{"Resizing": {"height": 4, "width": 8, "interpolation": interpolation}}],
            train=False,
        )
    f.add(
        "center_crop_bytes",
        input={"shape": [2, 5, 6, 2], "dtype": "uint8", "below": 256},
        layers=[{"CenterCrop": {"height": 3, "width": 3}}],
        train=False,
    )
    at_random = [
        ("flip", {"RandomFlip": {}}),
        ("translation", {"RandomTranslation": {"height_factor": 0.2, "width_factor": 0.2}}),
        ("zoom", {"RandomZoom": {"height_factor": 0.2}}),
        ("rotation", {"RandomRotation": {"factor": 0.2}}),
        ("crop", {"RandomCrop": {"height": 3, "width": 2}}),
    ]
    for tag, layer in at_random:
        f.add(f"inference_{tag}", input=floats(2, 4, 5, 2), layers=[layer], train=False)
    for case in f.cases:
        layer_case(f, case)
    return f


def transforms(tag, count, random):
    """Transforms of affine_transform, a0 a1 a2 b0 b1 b2 0 0: multiples of 1/64, so that places are exact in float32."""
    if tag == "whole":  # unmoved, mirrored, moved by whole pixels
        rows = [[1, 0, 0, 0, 1, 0], [-1, 0, 6, 0, -1, 4], [1, 0, -3, 0, 1, 2]]
    elif tag == "shifted":
        rows = [[1, 0, a, 0, 1, b] for a, b in random.uniform(-9, 9, (count, 2))]
    elif tag == "stretched":
        rows = [[a, 0, b, 0, c, d] for a, b, c, d in random.uniform(-2, 2, (count, 4))]
    else:
        rows = random.uniform(-1.5, 1.5, (count, 6)) * [1, 1, 4, 1, 1, 4]
    rows = np.round(np.asarray(rows) * 64) / 64
    return np.concatenate([rows, np.zeros((len(rows), 2))], axis=1).astype(np.float32)


def halfway(transform, height, width):
    """True if a place lies as near to one pixel as to another: rounding is then a matter of taste."""
    rows, columns = np.mgrid[:height, :width]
    for a0, a1, a2, b0, b1, b2 in transform[:, :6].astype(np.float64):
        for place in (a0 * columns + a1 * rows + a2, b0 * columns + b1 * rows + b2):
            if np.any(np.abs(place % 1 - 0.5) < 1e-3):
                return True
    return False


def warps():
    import jax
    import keras

    f = Family("warps", "keras.ops.image.affine_transform by given transforms, and its gradient with respect to the images.")
    shape = (3, 5, 7, 2)
    for tag in ("whole", "shifted", "stretched", "turned"):
        for fill in FILLS:
            for interpolation in INTERPOLATIONS:
                name = f"{tag}_{fill}_{interpolation}"
                f.add(name, fill_mode=fill, interpolation=interpolation, fill_value=-0.5)
                for attempt in range(1000):
                    random = rng(name, attempt)
                    transform = transforms(tag, shape[0], random)
                    if interpolation == "bilinear" or not halfway(transform, *shape[1:3]):
                        break
                else:
                    raise RuntimeError(f"warps/{name}: every attempt has places between two pixels")
                x, dy = (random.standard_normal(shape).astype(np.float32) for _ in range(2))

                def sample(images, transform=transform, fill=fill, interpolation=interpolation):
                    return keras.ops.image.affine_transform(
                        images, transform, interpolation=interpolation, fill_mode=fill, fill_value=-0.5
                    )

                y, back = jax.vjp(sample, x)
                f.put(f"{name}/x", x)
                f.put(f"{name}/transform", transform[:, :6])
                f.put(f"{name}/y", y)
                f.put(f"{name}/dy", dy)
                f.put(f"{name}/dx", back(dy)[0])
    return f


FAMILIES = {"images": images, "warps": warps}
