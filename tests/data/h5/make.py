"""Makes the HDF5 files of this folder, which tests/unit/test_h5_*.c read.

Made with h5py 3.14.0 (HDF5 1.14.6), numpy 2.4.6, ml_dtypes 0.6.0, Keras 3.15.1 (JAX). Run in this folder.
Own data, same licence as the repository.
"""
import os

os.environ["KERAS_BACKEND"] = "jax"
import h5py
import ml_dtypes
import numpy as np


def types():
    with h5py.File("types.h5", "w") as f:
        for name in ["i1", "i2", "i4", "i8", "u1", "u2", "u4", "u8", "f2", "f4", "f8"]:
            signed = name[0] != "u"
            values = np.array([0, 1, 2, 100, -1 if signed else 127, -100 if signed else 126])
            f["little/" + name] = values.astype("<" + name)
            f["big/" + name] = values.astype(">" + name)
        f["bool"] = np.array([True, False, True])
        f["bfloat16"] = np.array([1, 2.5, -3], dtype=ml_dtypes.bfloat16)
        f["bfloat16"].attrs["dtype"] = "bfloat16"
        f["scalar"] = np.float32(2.5)
        f["empty"] = np.zeros((0, 3), "f4")
        f["matrix"] = np.arange(12, dtype="f4").reshape(3, 4)
        f["large/u8"] = np.array([1, 2**63, 3], "u8")
        f["large/i4"] = np.array([[1, 2], [3, 300]], "i4")
        f["large/f8"] = np.array([1.0, 1e300])
        f["fraction"] = np.array([1.0, 2.0, 2.5], "f4")
        f["nan"] = np.array([np.nan, np.inf, -np.inf, -0.0], "f8")
        # numbers whose rounding to 16 bits is a tie, a carry, subnormal, too small, the largest
        f["rounding"] = np.array([1 + 2**-11, 1 + 3 * 2**-11, 1 + 2**-11 + 2**-30, 2 - 2**-12, 2**-24, 2**-25,
                                  2**-25 * 1.0001, 65504, 65519, 1 + 2**-8, 1 + 3 * 2**-8, 2**-14 - 2**-26], "f8")
        f["every_half"] = np.arange(65536, dtype="u2").view("f2")[::17].copy()
        # compact storage
        space = h5py.h5s.create_simple((5,))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_layout(h5py.h5d.COMPACT)
        set_ = h5py.h5d.create(f.id, b"compact", h5py.h5t.STD_I32BE, space, plist)
        set_.write(h5py.h5s.ALL, h5py.h5s.ALL, np.array([5, 4, 3, 2, 1], "i4"))
        # never written, with a fill value
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_fill_value(np.array(7, ">i2"))
        h5py.h5d.create(f.id, b"filled", h5py.h5t.STD_I16BE, h5py.h5s.create_simple((3, 2)), plist)

        g = f.create_group("attributes")
        g.attrs["variable"] = "gr\u00fc\u00df dich"
        g.attrs["list"] = ["a", "bc", ""]
        g.attrs["fixed"] = np.bytes_("fixed")
        g.attrs["fixed_list"] = np.array([b"ab", b"c", b""], "S4")
        g.attrs["number"] = np.int16(-7)
        g.attrs["numbers"] = np.array([1, 2, 3], ">u4")
        g.attrs["real"] = 0.5
        g.attrs["reals"] = np.array([0.25, -1], "f4")
        g.attrs["none"] = np.zeros((0,), "f8")
        g.attrs["flag"] = True
        g.attrs["too_large_number"] = np.uint64(2**64 - 1)
        g.attrs["matrix"] = np.zeros((2, 2))
        g.attrs["compound"] = np.zeros((), [("a", "i4")])
        for pad, name in [(h5py.h5t.STR_SPACEPAD, b"spaces"), (h5py.h5t.STR_NULLTERM, b"terminated")]:
            t = h5py.h5t.C_S1.copy()
            t.set_size(8)
            t.set_strpad(pad)
            a = h5py.h5a.create(g.id, name, t, h5py.h5s.create(h5py.h5s.SCALAR))
            a.write(np.array(b"word    " if pad == h5py.h5t.STR_SPACEPAD else b"word\0xyz", "S8"), t)
        many = f.create_group("many_attributes")
        for i in range(70):
            many.attrs[f"a{i:02}"] = i


def chunked():
    with h5py.File("chunked.h5", "w") as f:
        x = np.arange(7 * 5 * 3, dtype="<i4").reshape(7, 5, 3)
        made = {"plain": {}, "deflate": dict(compression="gzip"), "shuffle": dict(shuffle=True),
                "fletcher32": dict(fletcher32=True),
                "all": dict(compression="gzip", compression_opts=9, shuffle=True, fletcher32=True)}
        for name, options in made.items():
            f.create_dataset(name, data=x, chunks=(3, 2, 2), **options)
        f.create_dataset("rows", data=x, chunks=(2, 5, 3), compression="gzip")
        f.create_dataset("big_endian", data=x.astype(">f8"), chunks=(4, 5, 1), shuffle=True, compression="gzip")
        f.create_dataset("larger_than_data", data=x, chunks=(16, 16, 4), maxshape=(None, None, 4), compression="gzip")
        d = f.create_dataset("missing", (7, 5, 3), "<i4", chunks=(3, 2, 2), fillvalue=-9, compression="gzip")
        d[3:6, 2:4, 0:2] = x[3:6, 2:4, 0:2]
        f.create_dataset("never", (7, 5, 3), "<i4", chunks=(3, 2, 2), fillvalue=11)
        f.create_dataset("odd_bytes", data=np.arange(7, dtype="u1"), chunks=(7,), fletcher32=True)
        # filter order other than usual: the sum under the compression, and one chunk stored without filters
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((4,))
        plist.set_fletcher32()
        plist.set_shuffle()
        plist.set_deflate(6)
        s = h5py.h5d.create(f.id, b"sum_first", h5py.h5t.STD_I32LE, h5py.h5s.create_simple((8,)), plist)
        s.write(h5py.h5s.ALL, h5py.h5s.ALL, np.arange(8, dtype="i4"))
        d = f.create_dataset("masked", (8,), "<i4", chunks=(4,), shuffle=True, compression="gzip")
        d[...] = np.arange(8)
        d.id.write_direct_chunk((4,), np.arange(4, 8, dtype="<i4").tobytes(), 3)
    with h5py.File("latest.h5", "w", libver="latest") as f:
        x = np.arange(48, dtype="f4").reshape(12, 4)
        f.create_dataset("contiguous", data=x)
        f.create_dataset("single", data=x, chunks=(12, 4))
        f.create_dataset("single_deflate", data=x, chunks=(12, 4), compression="gzip")
        f.create_dataset("fixed_array", data=x, chunks=(5, 3))
        f.create_dataset("extensible", data=x, chunks=(5, 3), maxshape=(None, 4), compression="gzip")
        f.create_dataset("tree2", data=x, chunks=(5, 3), maxshape=(None, None))
        plist = h5py.h5p.create(h5py.h5p.DATASET_CREATE)
        plist.set_chunk((5, 3))
        plist.set_alloc_time(h5py.h5d.ALLOC_TIME_EARLY)
        s = h5py.h5d.create(f.id, b"implicit", h5py.h5t.IEEE_F32LE, h5py.h5s.create_simple((12, 4)), plist)
        s.write(h5py.h5s.ALL, h5py.h5s.ALL, x)
        for i in range(12):
            f.attrs[f"dense{i}"] = i
        f["group/inner"] = x[0]


def refused():
    with h5py.File("refused.h5", "w") as f:
        f["good"] = np.arange(3, dtype="i4")
        f["soft"] = h5py.SoftLink("/good")
        f["external"] = h5py.ExternalLink("other.h5", "/good")
        f["hard"] = f["good"]
        f["group/inner"] = np.arange(2, dtype="i4")
        f["group/cycle"] = f["group"]
        f["second_name"] = f["group"]
        f["strings"] = ["a", "b"]
        f["fixed_strings"] = np.array([b"a", b"b"])
        f["compound"] = np.zeros(2, [("a", "i4"), ("b", "f4")])
        f["complex"] = np.zeros(2, "c8")
        f["opaque"] = np.zeros(2, "V2")
        f["opaque3"] = np.zeros(2, "V3")
        f["named_type"] = np.dtype("f4")
        f["null"] = h5py.Empty("f4")
        f["rank9"] = np.zeros((1,) * 9, "i1")
        f["long_double"] = np.zeros(2, np.longdouble)
        f["lzf"] = f.create_dataset("lzf_", data=np.zeros(64, "i4"), chunks=(8,), compression="lzf")
        f.create_dataset("scaleoffset", data=np.zeros(64, "i4"), chunks=(8,), scaleoffset=4)
        f.create_dataset("vlen", (2,), dtype=h5py.vlen_dtype(np.int32))
        f.create_dataset("reference", (2,), dtype=h5py.ref_dtype)
        f.create_dataset("array", (2,), dtype=np.dtype(("i4", (3,))))
        f.create_dataset("external_storage", (4,), "i4", external=[("raw.bin", 0, 16)])
        layout = h5py.VirtualLayout((3,), "i4")
        layout[:] = h5py.VirtualSource("other.h5", "good", (3,))
        f.create_virtual_dataset("virtual", layout)
        f.create_dataset("claims_rows", (1 << 40,), "f4", chunks=(1 << 20,))
        f.create_dataset("claims_chunk", (1 << 29,), "f8", chunks=(1 << 28,))
        f.create_dataset("claims_contiguous", (1 << 35,), "f4")
        f.create_dataset("huge_grid", (1 << 24,), "u1", chunks=(1,))[0] = 1
    with h5py.File("deep.h5", "w") as f:
        g = f
        for i in range(40):
            g = g.create_group("g")
        g["x"] = 1
    with h5py.File("good.h5", "w", track_order=False) as f:
        f["x"] = np.arange(6, dtype="f4").reshape(2, 3)
        f["x"].attrs["unit"] = "m"
        f["g/y"] = np.arange(100, dtype="i4")
        f.create_dataset("g/z", data=np.arange(100, dtype="i2"), chunks=(30,), compression="gzip", shuffle=True,
                         fletcher32=True)
    with h5py.File("userblock.h5", "w", userblock_size=512) as f:
        f["x"] = np.arange(3, dtype="i4")
        f.create_dataset("c", data=np.arange(9, dtype="i4"), chunks=(4,), compression="gzip")


def keras_files():
    import keras
    keras.utils.set_random_seed(1)
    model = keras.Sequential([keras.layers.Input((4, 4, 1)), keras.layers.Conv2D(2, 3, padding="same"),
                              keras.layers.BatchNormalization(), keras.layers.Flatten(), keras.layers.Dropout(0.5),
                              keras.layers.Dense(3), keras.layers.Dense(2)], name="cnn")
    model.compile("adam", "mse")
    model.fit(np.ones((4, 4, 4, 1)), np.zeros((4, 2)), epochs=1, batch_size=2, verbose=0)
    model.layers[4].kernel.assign(np.arange(32 * 3, dtype="f4").reshape(32, 3))
    model.save_weights("keras.weights.h5")
    model.save("keras_legacy.h5")


types()
chunked()
refused()
keras_files()
