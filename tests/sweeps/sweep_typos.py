"""Typos: every kind and every key of the field tables, mistyped, must be suggested in the message that refuses it.

Of each name: a letter dropped, doubled, replaced, two swapped, wrong case, camelCase for snake_case and the other way. Many of
them stand in one file, each on a line of its own: all mistakes of a file are told in one run. At least 90 % of the suggestions must
be the name that was meant; each of the others is printed. Names of one or two letters are passed over: too little is left of them.
"""
import json
import os
import pathlib
import re
import shutil
import subprocess
import sys
import tempfile

sys.path.insert(0, str(pathlib.Path(__file__).resolve().parents[1] / "program"))
import dltrain  # noqa: E402
from sweep import Sweep  # noqa: E402

TABLES = os.environ.get("DLTRAIN_TABLES", str(dltrain.BUILD / "tests" / "list_tables"))
SAMPLE, LEAST = 1200, 0.90
LISTED_LINES = 30  # typos in lists of one file: below the number of mistakes after which the rest is not looked at
LETTERS = "abcdefghijklmnopqrstuvwxyz"


def snake(name):
    return re.sub(r"(?<=[a-z0-9])(?=[A-Z])|(?<=[A-Z])(?=[A-Z][a-z])", "_", name).lower()


def camel(name):
    head, *rest = name.split("_")
    return head + "".join(part.capitalize() for part in rest)


def same(a, b):
    return a.replace("_", "").lower() == b.replace("_", "").lower()


def typo(rng, how, name):
    """A mistyped name, or None where it cannot be mistyped so."""
    at = rng.randrange(len(name))
    if how == "drop":
        return name[:at] + name[at + 1:]
    if how == "double":
        return name[:at] + name[at] + name[at:]
    if how == "replace":
        return name[:at] + rng.choice(LETTERS) + name[at + 1:]
    if how == "swap":
        at = rng.randrange(len(name) - 1)
        return name[:at] + name[at + 1] + name[at] + name[at + 2:]
    if how == "case":
        return rng.choice([name.upper(), name.lower(), name[0].swapcase() + name[1:]])
    return camel(name) if "_" in name else snake(name)


WAYS = ("drop", "double", "replace", "swap", "case", "style")


class Catalogue:
    def __init__(self):
        lines = subprocess.run([TABLES], stdout=subprocess.PIPE, check=True, text=True).stdout.splitlines()
        self.kinds = [json.loads(line) for line in lines]
        self.names = {}  # all spellings of a category
        for kind in self.kinds:
            spellings = {kind["kind"], snake(kind["kind"]), *kind["aliases"].split()}
            self.names.setdefault(kind["category"], set()).update(spellings)

    @staticmethod
    def keys(kind, fields):
        keys = []
        for field in fields:
            keys += ([f"{field['name']}_{what}" for what in ("initializer", "regularizer", "constraint")]
                     if field["type"] == "weight" else [field["name"]])
        return keys + ["name"] * kind["named"] + ["trainable"] * kind["trainable"]

    def words(self):
        """(category, kind, section or None, word, names that are good there): a word without a kind is a kind's name."""
        for kind in self.kinds:
            category, name = kind["category"], kind["kind"]
            if category:
                yield category, None, None, name, self.names[category]
            keys = self.keys(kind, kind["fields"])
            for key in keys:
                yield category, name, None, key, set(keys)
            for field in kind["fields"]:
                if field["type"] == "struct":
                    inner = self.keys({"named": False, "trainable": False}, field["fields"])
                    for key in inner:
                        yield category, name, field["name"], key, set(inner)


# where a thing of a category stands on a line of its own in a list: the section, and the line
IN_LISTS = {
    "layer": ("layers", "{}"),
    "activation": ("layers", "Dense: {{units: 1, activation: {{{}}}}}"),
    "initializer": ("layers", "Dense: {{units: 1, kernel_initializer: {{{}}}}}"),
    "regularizer": ("layers", "Dense: {{units: 1, kernel_regularizer: {{{}}}}}"),
    "constraint": ("layers", "Dense: {{units: 1, kernel_constraint: {{{}}}}}"),
    "feature": ("layers", "FeatureSpace: {{features: {{a: {{{}}}}}}}"),
    "cross": ("layers", "FeatureSpace: {{crosses: [{{{}}}]}}"),
    "metric": ("metrics", "{}"),
    "callback": ("callbacks", "{}"),
}
# and where there is room for one in a file
ALONE = {
    "optimizer": "optimizer: {{{}}}",
    "schedule": "optimizer: {{sgd: {{learning_rate: {{{}}}}}}}",
    "loss": "loss: {{{}}}",
    "source": "data: {{train: {{{}}}}}",
    "validation": "data: {{validation: {{{}}}}}",
}


def line_of(category, kind, section, wrong):
    """(list or None, line) of the mistyped word."""
    if kind is None:
        thing = f"{wrong}: {{}}"
    elif category == "":
        return None, f"{section}: {{{wrong}: 1}}" if section else f"{wrong}: 1"
    else:
        thing = f"{kind}: {{{wrong}: 1}}"
    if category in IN_LISTS:
        section, form = IN_LISTS[category]
        return section, form.format(thing)
    return None, ALONE[category].format(thing)


def files(typos):
    """Files of many typos: (text, {line: typo})."""
    waiting = {"layers": [], "metrics": [], "callbacks": [], None: []}
    for t in typos:
        section, line = line_of(*t[:3], t[4])
        waiting[section].append((line, t))
    while any(waiting.values()):
        lines, at = [], {}
        if waiting[None]:
            line, t = waiting[None].pop()
            lines.append(line)
            at[len(lines)] = t
        taken = lines[0].split(":")[0] if lines else ""
        for section, indent in (("layers", ""), ("metrics", ""), ("callbacks", "  ")):
            if not waiting[section] or (section == "callbacks" and taken == "fit") or taken == section:
                continue
            lines += ["fit:", "  callbacks:"] if section == "callbacks" else [f"{section}:"]
            for line, t in waiting[section][:LISTED_LINES // 3]:
                lines.append(f"{indent}  - {line}")
                at[len(lines)] = t
            del waiting[section][:LISTED_LINES // 3]
        yield "\n".join(lines) + "\n", at


def main():
    sweep = Sweep("typos", __doc__.splitlines()[0])
    try:
        words = list(Catalogue().words())
    except FileNotFoundError:
        sweep.skip("list_tables is not built")
    typos = []
    for category, kind, section, word, good in words:
        for how in WAYS:
            wrong = typo(sweep.random, how, word) if len(word) >= 3 else None
            if wrong is None:
                sweep.count("short")
            elif wrong not in good and not any(same(wrong, g) and kind is None for g in good) and re.fullmatch(r"\w+", wrong):
                typos.append((category, kind, section, word, wrong, how))
    places = sweep.choose(range(len(typos)), sweep.arguments.count or SAMPLE)
    typos = [typos[i] for i in places]
    folder = pathlib.Path(tempfile.mkdtemp(prefix="dltrain-typos-", dir=dltrain.FOLDER))
    good, by_way = 0, {}
    try:
        for text, at in files(typos):
            sweep.count("files")
            model = folder / "m.yaml"
            model.write_text(text)
            said = dltrain.run("check", model).stderr
            told = {}
            for line in said.splitlines():
                found = re.match(r"\S*m\.yaml:(\d+):\d+: (.*)", line)
                if found:
                    told.setdefault(int(found.group(1)), []).append(found.group(2))
            for number, (category, kind, section, word, wrong, how) in at.items():
                messages = [m for m in told.get(number, []) if f"'{wrong}'" in m]
                sweep.count("typos")
                suggested = [s for m in messages for s in re.findall(r"did you mean '([^']+)'|write '?(\w+)", m)]
                if any(same(a or b, word) for a, b in suggested):
                    good += 1
                else:
                    by_way[how] = by_way.get(how, 0) + 1
                    place = " ".join(p for p in (category, kind, section) if p)
                    print(f"typos: {place}: '{wrong}' for '{word}' ({how}): {messages[0] if messages else 'NOT TOLD'}")
                if not messages:
                    sweep.lost(f"'{wrong}' is not told of in line {number} of\n{text}")
    finally:
        shutil.rmtree(folder, ignore_errors=True)
    share = good / max(1, sweep.counts.get("typos", 0))
    sweep.counts["suggested"] = good
    sweep.counts["percent"] = round(100 * share, 1)
    if share < LEAST:
        sweep.lost(f"only {share:.1%} of the suggestions are what was meant; missed by way: {by_way}")
    sweep.finish("typos")


if __name__ == "__main__":
    main()
