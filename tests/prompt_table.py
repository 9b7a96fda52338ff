"""A prompt table of our own, as wild as real ones: made from word lists and a small grammar, always the same bytes.

    python -m tests.prompt_table FILE.tsv      write it; .tsv or .csv

Its prompts are of one letter and of 30,000, in 26 languages and some 20 scripts, from right to left, quoted, padded
with blanks, and doubled. Those of `MULTILINE` have tabs and line breaks as well, which TSV cannot hold. Nothing but
`random.Random.random` is drawn from: of all that `random` offers, Python promises only of this that a seed gives the
same numbers in every version.
"""

from __future__ import annotations

import random
import string
import sys
from pathlib import Path
from typing import TYPE_CHECKING, NamedTuple, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

T = TypeVar("T")

SEED = 20261124
ROWS = 1680
LONGEST = 30_000
"""Characters: a template may add some, and it is still a prompt that the registry's models take."""


class Row(NamedTuple):
    """One row. `Challenge` says what is unusual about the prompt, `Note` is empty in most rows."""

    Prompt: str
    Category: str
    Challenge: str
    Note: str = ""


COLUMNS = Row._fields

SUBJECTS = {
    "Animals": ("a sleepy badger", "two herons", "an old donkey", "a moth with torn wings", "seven piglets", "a lynx"),
    "Buildings": ("a lighthouse", "a brick kiln", "a covered bridge", "a tin-roofed chapel", "a water tower"),
    "Clothing": ("a patched raincoat", "wooden clogs", "a felt hat", "a sequined waistcoat", "odd socks"),
    "Food": ("a bowl of lentils", "half a pomegranate", "burnt toast", "a wheel of cheese", "pickled beets"),
    "Furniture": ("a three-legged stool", "a roll-top desk", "a cradle", "a folding screen", "a bench of oak"),
    "Landscapes": ("a salt marsh", "terraced hills", "a frozen canal", "a quarry lake", "dunes at low tide"),
    "Machines": ("a knitting machine", "a steam crane", "a typewriter", "a loom", "a clockwork orrery"),
    "People": ("a glassblower", "two ferrymen", "a girl on stilts", "a tired juggler", "a beekeeper"),
    "Plants": ("a pot of thyme", "climbing beans", "a hollow willow", "a cactus in bloom", "wild garlic"),
    "Signs and text": ("a hand-painted shop sign", "a road sign", "a chalk board", "a ticket stub", "a neon sign"),
    "Tools": ("a bent trowel", "a set of chisels", "a brass level", "a wheelbarrow", "a rusty scythe"),
    "Vehicles": ("a milk float", "a cargo tricycle", "a paddle steamer", "a snow plough", "a funicular"),
}  # fmt: skip
CATEGORIES = tuple(SUBJECTS)

PLACES = (
    "on a windowsill", "under a viaduct", "beside a slow river", "in an empty ballroom", "behind the old dairy",
    "at the edge of a fair", "on a flooded meadow", "in a greenhouse", "above the harbour", "in a narrow courtyard",
    "between two haystacks", "in the back of a bakery",
)  # fmt: skip
LIGHT = (
    "at dawn", "by candlelight", "in flat grey light", "under a full moon", "just after rain", "in low winter sun",
    "lit from below", "in dense fog", "at noon", "through frosted glass",
)  # fmt: skip
STYLES = (
    "a woodcut in two colours", "a faded photograph", "a watercolour sketch", "a museum catalogue picture",
    "a paper collage", "a technical drawing", "an oil study on board", "a linocut", "a stop-motion still",
    "a cross-stitch pattern", "a wide-angle photograph", "a poster with a thick border",
)  # fmt: skip
DETAILS = (
    "the paint flakes at the corners", "a single red thread runs through it", "dust hangs in the air",
    "everything is slightly too large", "the shadows point the wrong way", "a moth sits on the frame",
    "half of it is under water", "the colours are those of old maps", "nothing stands quite upright",
    "there is a small brass plate without a name", "the horizon is tilted", "someone has left a cup behind",
)  # fmt: skip
SAYINGS = (
    "back in ten minutes",
    "fresh eggs",
    "mind the step",
    "no entry",
    "all must go",
    "please ring",
    "platform 4b",
)
WORDS = ("kettle", "moss", "?", "x", "ladder", "7", "thunderstorm", "&", "velvet", "42", "rust", "null", "NaN", "true")

LANGUAGES: tuple[tuple[str, str, tuple[str, ...], tuple[str, ...]], ...] = (
    ("German", "{thing} {place}", ("ein blauer Kessel", "eine müde Gans", "ein Turm aus Glas"),
     ("auf dem Küchentisch", "im Nebel über der Brücke", "neben einem schmalen Fluß")),
    ("French", "{thing} {place}", ("un vélo rouillé", "une chèvre qui rêve", "un théâtre d’ombres"),
     ("près d’un canal gelé", "dans une cour étroite", "à l’aube")),
    ("Spanish", "¡{thing} {place}!", ("un farol de papel", "una cigüeña", "un piano sin teclas"),
     ("bajo la lluvia", "junto al puente", "en una azotea")),
    ("Portuguese", "{thing} {place}", ("um barco de cortiça", "uma avó com pão"), ("à beira do rio", "na feira vazia")),
    ("Polish", "{thing} {place}", ("żółty tramwaj", "śpiący jeż"), ("nad rzeką we mgle", "na strychu pełnym książek")),
    ("Czech", "{thing} {place}", ("dřevěný kolotoč", "říční převozník"), ("pod starým mostem", "za úsvitu")),
    ("Turkish", "{place} {thing}", ("ışıklı bir çadır", "İki küçük keçi"), ("ırmağın kıyısında", "boş bir avluda")),
    ("Vietnamese", "{thing} {place}", ("một chiếc ô đỏ", "con trâu già"), ("bên bờ sông", "dưới ánh trăng")),
    ("Icelandic", "{thing} {place}", ("þreyttur hestur", "gömul brú"), ("við ána í þoku", "undir norðurljósum")),
    ("Greek", "{thing} {place}", ("μια κόκκινη καρέκλα", "ένα μικρό καράβι"),
     ("δίπλα στη θάλασσα", "κάτω από το φεγγάρι")),
    ("Russian", "{thing} {place}", ("красный чайник", "старая лодка"), ("у тихой реки", "на деревянном столе")),
    ("Ukrainian", "{thing} {place}", ("жовтий ліхтар", "їжак у капелюсі"), ("біля млина", "на ґанку після дощу")),
    ("Armenian", "{thing} {place}", ("կարմիր հովանոց", "փոքրիկ նավակ"), ("փայտե սեղանին", "գետի ափին")),
    ("Georgian", "{thing} {place}", ("წითელი ქოლგა", "ძველი ნავი"), ("ხის მაგიდაზე", "მდინარის პირას")),
    ("Arabic", "{thing} {place}", ("قطة نائمة", "مصباح نحاسي قديم", "سفينة من ورق"),
     ("بجانب نهر هادئ", "تحت قمر أحمر، ليلاً")),
    ("Hebrew", "{thing} {place}", ("חתול כתום", "מנורה ישנה"), ("ליד הים", "על שולחן עץ")),
    ("Persian", "{thing} {place}", ("چراغی کهنه", "گربه‌ای خاکستری"), ("کنار رودخانه", "زیر باران")),
    ("Hindi", "{place} {thing}", ("एक लाल पतंग", "पुरानी नाव"), ("नदी के किनारे", "पहाड़ के ऊपर")),
    ("Bengali", "{place} {thing}", ("একটি লাল ছাতা", "পুরোনো নৌকা"), ("নদীর ধারে", "কাঠের টেবিলে")),
    ("Tamil", "{place} {thing}", ("ஒரு சிவப்பு குடை", "பழைய படகு"), ("ஆற்றங்கரையில்", "மர மேசையில்")),
    ("Thai", "{thing}{place}", ("แมวสีส้ม", "โคมไฟเก่า"), ("ริมแม่น้ำ", "บนโต๊ะไม้")),
    ("Amharic", "{place} {thing}", ("ቀይ ጃንጥላ", "አሮጌ ጀልባ"), ("በወንዝ ዳር", "በእንጨት ጠረጴዛ ላይ")),
    ("Khmer", "{thing}{place}", ("ឆ័ត្រក្រហម", "ទូកចាស់"), ("ក្បែរទន្លេ", "លើតុឈើ")),
    ("Chinese", "{place}，{thing}。", ("一把红色的雨伞", "一只打盹的狐狸"), ("在雨后的小巷里", "木桌上")),
    ("Japanese", "{place}の{thing}", ("赤い傘", "眠るキツネ"), ("雨上がりの路地", "木の机の上")),
    ("Korean", "{place} {thing}", ("빨간 우산", "졸고 있는 여우"), ("비 온 뒤 골목의", "나무 책상 위의")),
)  # fmt: skip
RIGHT_TO_LEFT = frozenset({"Arabic", "Hebrew", "Persian"})

ODD = (
    "e\u0301galite\u0301 and \u00e9galit\u00e9: one is decomposed", "zero\u200bwidth\u200dletters", "no\u00a0break",
    "\u202eturned round\u202c", "full\u3000width　ＡＢＣ１２３", "soft\u00adhyphen", "𝒸𝓊𝓇𝓈𝒾𝓋ℯ", "\ufeffa mark",
    "a thumb 👍🏽, a family 👩‍👩‍👧 and a flag 🇳🇿", "half ½, π ≈ 3.14, 5 µm", "100 % of it; 50/50 -- or -1e9?",
    "a_b*c~d`e <b>bold</b> &amp; {braces} [links](to nowhere)", "C:\\folder\\new", "ends with a backslash\\",
    "=1+1", "+cmd", "@sum", "-3", "#not a comment", "$HOME %PATH%", "semi;colons, commas, and | pipes", "''",
    "‘single’, “double”, «angled», 「corners」",
)  # fmt: skip

_SWAPPED = str.maketrans({letter: letter.swapcase() for letter in string.ascii_letters})


class _Words:
    """Draws from word lists."""

    def __init__(self, seed: int) -> None:
        self._draw = random.Random(seed).random

    def number(self, below: int) -> int:
        return int(self._draw() * below)

    def one(self, of: Sequence[T]) -> T:
        return of[self.number(len(of))]

    def scene(self, category: str) -> str:
        """An English phrase: what, where, in which light."""
        return f"{self.one(SUBJECTS[category])} {self.one(PLACES)} {self.one(LIGHT)}"

    def sentences(self, category: str, length: int) -> str:
        """English text of `length` characters, at a word's end or not."""
        found = f"{self.one(STYLES)} of {self.scene(category)}"
        while len(found) < length:
            found += f"; {self.one(DETAILS)}, and {self.scene(self.one(CATEGORIES))}"
        return found[:length]


def rows() -> list[Row]:
    """All rows that every format can hold, in table order. The first two of each category are plain."""
    words = _Words(SEED)
    found = [
        Row(f"{words.one(STYLES)} of {SUBJECTS[category][n]} {words.one(PLACES)}", category, "plain")
        for category in CATEGORIES
        for n in range(2)
    ]
    makers = tuple(_MAKERS.items())
    while len(found) < ROWS:
        challenge, make = makers[len(found) % len(makers)]
        category = words.one(CATEGORIES)
        found.append(Row(make(words, category, found), category, challenge, _note(words)))
    return found


MULTILINE = (
    Row("a poem in\ntwo lines", "Signs and text", "line break"),
    Row("columns:\tone\ttwo", "Signs and text", "tab", "a\ttab here, too"),
    Row("\r\nWindows lines\r\nand a tab\t", "Tools", "line break"),
    Row('a "quoted\nbreak", and a comma', "Food", "line break", 'say "ah"\n'),
    Row("a vertical\u2028line separator\u2029and a paragraph's", "People", "line break"),
)
"""Rows that TSV cannot hold."""


def _note(words: _Words) -> str:
    return "" if words.number(4) else f'drawn as no. {words.number(900)}, "{words.one(SAYINGS)}"'


# -- what each challenge makes of the words; `found`: the rows so far


def _plain(words: _Words, category: str, _found: list[Row]) -> str:
    return words.scene(category)


def _styled(words: _Words, category: str, _found: list[Row]) -> str:
    return f"{words.one(STYLES)}: {words.scene(category)}, {words.one(DETAILS)}"


def _one_word(words: _Words, _category: str, _found: list[Row]) -> str:
    return words.one(WORDS)


def _long(words: _Words, category: str, found: list[Row]) -> str:
    is_first = not any(row.Challenge == "long" for row in found)
    return words.sentences(category, LONGEST if is_first else 300 + words.number(2500))


def _quoted(words: _Words, category: str, _found: list[Row]) -> str:
    saying, thing = words.one(SAYINGS), words.one(SUBJECTS[category])
    shapes = (
        f'"{saying}" on {thing}',  # begins with a mark
        f'{thing} that says "{saying}"',  # ends with one
        f"{thing} that says '{saying}', or so it seems",
        f"“{saying.capitalize()}!”, painted on {thing}",
        f'{thing}, 3" by 5", marked "{saying}, {words.one(SAYINGS)}"',
        f'"{saying}" and "{words.one(SAYINGS)}", side by side',
    )
    return words.one(shapes)


def _punctuated(words: _Words, category: str, _found: list[Row]) -> str:
    marks = (", ", "; ", " -- ", " ... ", "? ", "! ", " | ", " / ", ": ", ",,", " (", ") ")
    parts = (words.one(SUBJECTS[category]), words.one(PLACES), words.one(LIGHT), words.one(DETAILS))
    return "".join(f"{part}{words.one(marks)}" for part in parts).strip()


def _other_language(words: _Words, _category: str, _found: list[Row]) -> str:
    _, pattern, things, places = words.one([lang for lang in LANGUAGES if lang[0] not in RIGHT_TO_LEFT])
    return pattern.format(thing=words.one(things), place=words.one(places))


def _right_to_left(words: _Words, _category: str, _found: list[Row]) -> str:
    _, pattern, things, places = words.one([lang for lang in LANGUAGES if lang[0] in RIGHT_TO_LEFT])
    text = pattern.format(thing=words.one(things), place=words.one(places))
    return words.one((text, f"{text} (no. {words.number(99)})", f"{words.one(STYLES)}: {text}"))


def _mixed(words: _Words, category: str, _found: list[Row]) -> str:
    _, pattern, things, places = words.one(LANGUAGES)
    return f"{words.one(SUBJECTS[category])} / {pattern.format(thing=words.one(things), place=words.one(places))}"


def _odd(words: _Words, category: str, _found: list[Row]) -> str:
    text = words.one(ODD)
    return words.one((text, f"{text} {words.scene(category)}"))


def _padded(words: _Words, category: str, _found: list[Row]) -> str:
    scene = words.scene(category)
    return words.one((f" {scene}", f"{scene} ", f"   {scene}  ", f"\u00a0{scene}", scene.replace(" ", "  ", 2)))


def _doubled(words: _Words, _category: str, found: list[Row]) -> str:
    return words.one(found).Prompt


def _nearly_doubled(words: _Words, _category: str, found: list[Row]) -> str:
    text = words.one(found).Prompt[: LONGEST - 2]
    near = (f"{text}.", f"{text} ", text.translate(_SWAPPED), f"{text}\u200b", text.replace("a ", "one ", 1))
    return words.one(near)


def _numbered(words: _Words, category: str, _found: list[Row]) -> str:
    return f"{words.number(10_000)} times {words.scene(category)}, no. {words.number(10**9):,}"


_MAKERS: dict[str, Callable[[_Words, str, list[Row]], str]] = {
    "plain": _plain,
    "style": _styled,
    "one word": _one_word,
    "long": _long,
    "quotes": _quoted,
    "punctuation": _punctuated,
    "language": _other_language,
    "right to left": _right_to_left,
    "two languages": _mixed,
    "odd letters": _odd,
    "padded": _padded,
    "doubled": _doubled,
    "nearly doubled": _nearly_doubled,
    "numbers": _numbered,
}


def write(path: Path) -> Path:
    """Write the table and return its path: as TSV, or as CSV with the multi-line rows at its end, by its ending."""
    if path.suffix == ".tsv":
        lines = ["\t".join(row) + "\n" for row in (COLUMNS, *rows())]
    else:
        quoted = ([cell.replace('"', '""') for cell in row] for row in (COLUMNS, *rows(), *MULTILINE))
        lines = ['"' + '","'.join(cells) + '"\r\n' for cells in quoted]
    path.write_bytes("".join(lines).encode())
    return path


if __name__ == "__main__":
    write(Path(sys.argv[1]))
