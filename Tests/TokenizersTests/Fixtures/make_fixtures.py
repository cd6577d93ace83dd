"""Makes the tokenizer and caption fixtures of TokenizersTests.

    python make_fixtures.py                      # writes everything beside this file
    python make_fixtures.py --golden IN OUT.json # ids of the tokenizer folder IN, for TESSERA_TOKENIZER_GOLDEN
    python make_fixtures.py --captions OUT.json N SEED # N random captions, for TESSERA_CAPTION_GOLDEN
    python make_fixtures.py --entities OUT.swift # the table of named character references

Made with Python 3.11.7, transformers 5.23.0, tokenizers 0.23.3, sentencepiece 0.2.3, diffusers 0.42.1, ftfy 6.3.1,
beautifulsoup4 4.15.0. All texts are made up here; every random choice is seeded.
"""

import html.entities
import json
import random
import shutil
import sys
import tempfile
from pathlib import Path

HERE = Path(__file__).resolve().parent

WORDS = {
    "english": "a the of on in with red green blue small large round square table lamp cup cube ball house tree river "
    "mountain light shadow morning evening painting photograph portrait landscape detailed soft bright dark wooden "
    "glass metal old new cat dog bird fish boat street city garden flower window door walking running sitting "
    "standing beside above below behind cinematic watercolor sketch close-up style",
    "german": "der die das ein eine rot grün blau klein groß Straße Tür Fenster Mädchen Junge Schloss über unter "
    "Brücke Fluss schön hell dunkel Tisch Stuhl Käse Öl Übung",
    "french": "le la les un une rouge vert bleu petit grand rivière forêt château été hiver garçon élève où ça "
    "lumière fenêtre œuvre cœur île",
    "spanish": "el la los una rojo verde niño niña montaña mañana pingüino corazón árbol canción ¿qué? ¡sí!",
    "russian": "красный зелёный синий маленький большой дом дерево река гора свет тень кошка собака улица город",
    "greek": "κόκκινο πράσινο μπλε μικρό μεγάλο σπίτι δέντρο ποτάμι φως σκιά οδός",
    "polish": "czerwony zielony żółty mały duży dom drzewo rzeka góra światło cień źródło łąka",
    "turkish": "kırmızı yeşil mavi küçük büyük ev ağaç nehir dağ ışık gölge İstanbul",
    "chinese": "红色 绿色 蓝色 小 大 房子 树 河流 山 光 影子 桌子 猫 狗",
    "japanese": "赤い 緑 青い 小さな 大きな 家 木 川 山 光 テーブル ネコ カメラ きれいな",
    "arabic": "أحمر أخضر أزرق صغير كبير بيت شجرة نهر جبل ضوء",
    "hindi": "लाल हरा नीला छोटा बड़ा घर पेड़ नदी पहाड़",
    "korean": "빨간 초록 파란 작은 큰 집 나무 강 산 빛",
}
MARKS = [",", ".", "!", "?", ";", ":", "-", "(", ")", '"', "'", "1", "2", "3", "24", "1984", "%", "&", "/"]

# A small normalization: enough to test the table's form, small enough to commit twice.
RULES = {
    "ﬁ": "fi", "ﬂ": "fl", "ﬀ": "ff", "Ａ": "A", "Ｂ": "B", "ａ": "a", "ｂ": "b", "①": "1", "½": "1/2", "…": "...",
    "\u00a0": " ", "\u3000": " ", "\t": " ", "\n": " ", "\r": " ", "\u200b": "", "\ufeff": "", "e\u0301": "é",
    "a\u0308": "ä", "＜": "<", "＞": ">", "▁": " ", "™": "TM", "㍍": "メートル",
}


def sentences(seed, count, languages=tuple(WORDS)):
    chance = random.Random(seed)
    for _ in range(count):
        words = WORDS[chance.choice(languages)].split()
        text = []
        for _ in range(chance.randint(3, 14)):
            word = chance.choice(words)
            if chance.random() < 0.1:
                word = word.capitalize()
            if chance.random() < 0.05:
                word = chance.choice(words) + word
            text.append(word + (chance.choice(MARKS) if chance.random() < 0.15 else ""))
        yield " ".join(text)


def train(prefix, seed, size, rules=None, **options):
    import sentencepiece

    arguments = dict(
        model_prefix=str(prefix), model_type="unigram", vocab_size=size, pad_id=0, eos_id=1, unk_id=2, bos_id=-1,
        pad_piece="<pad>", eos_piece="</s>", unk_piece="<unk>", hard_vocab_limit=False, num_threads=1,
        character_coverage=0.999, minloglevel=2, **options)
    if rules:
        table = prefix.with_suffix(".tsv")
        lines = (" ".join(f"{ord(c):X}" for c in k) + "\t" + " ".join(f"{ord(c):X}" for c in v)
                 for k, v in rules.items())
        table.write_text("\n".join(lines) + "\n")
        arguments["normalization_rule_tsv"] = str(table)
    else:
        arguments["normalization_rule_name"] = "nmt_nfkc"
    sentencepiece.SentencePieceTrainer.train(sentence_iterator=iter(list(sentences(seed, 4000))), **arguments)
    # The file must not depend on the scratch folder's name.
    from sentencepiece import sentencepiece_model_pb2

    model = sentencepiece_model_pb2.ModelProto.FromString(prefix.with_suffix(".model").read_bytes())
    model.trainer_spec.ClearField("model_prefix")
    model.normalizer_spec.ClearField("normalization_rule_tsv")
    prefix.with_suffix(".model").write_bytes(model.SerializeToString())
    return prefix.with_suffix(".model")


def strings():
    """The 300 and more texts whose ids are compared."""
    texts = [
        "", " ", "   ", "\t", "\n", "\r\n", "\t\n a \r\n b", "a", "A", "a b", " a", "a ", "  a   b    c  ", "a\tb",
        "a\nb", "a\r\nb", "a\u00a0b", "a\u3000b", "a\u2003b", "a\u2028b", "a\u2029b", "a\x85b", "a\x0bb", "a\x0cb",
        "a\x1cb", "a\x1fb", "\x00", "a\x00b", "\x01a\x02", "a\x7fb", "\x80", "\ufeffa", "a\u200bb", "a\u200cb",
        "a\u200db", "\u200e\u200fa", "a\u202eb\u202c", "a\u2060b", "a\u00adb", "\ufffd", "\uffff", "\U0010ffff",
        "▁", "▁▁", "▁a", "a▁", "a▁b", "a▁▁b", " ▁ a", "▁ ▁", "</s>", "a</s>b", "a </s> b", "</s></s>", "</S>", "< /s>",
        "</s", "/s>", "<unk>", "a<unk>b", "<pad>", "<pad><pad> x", "<s>", "<extra_id_0>", "<extra_id_1>x",
        "x <extra_id_3> y", "x<extra_id_4>y", "<extra_id_10>", "<extra_id_99>", "<extra_id_100>", "<extra_id_>",
        "<EXTRA_ID_0>", "  <extra_id_2>  a", "<extra_id_0><extra_id_1>", "<extra_id_0> </s> <pad>", "＜/s＞", "＜unk＞",
        "<wide>", "a <wide> b", "a<wide>b", "a  <word>  b", "a<word>b", "_<word>", "<word>", "<Ａb>", "x <Ab> y", "<ab>",
        "e\u0301", "é", "é e\u0301", "cafe\u0301 café", "a\u0308\u0301", "ａ\u0302b", "a\u0302ａ", "Å Å Å", "ﬁne ﬂow ﬀ ﬃ",
        "ﬁ\u0301x", "①②③", "½ ¼ ¾", "㍍ ㍿", "ｶﾞｷﾞ", "ﾊﾟ", "が か\u3099", "한국어 한국어", "가각힣", "ＡＢＣ ａｂｃ １２３", "Ⅳ ⅷ ℃ №",
        "…", "™ ® ©", "a…b", "“curly” ‘quotes’", "«guillemets»", "– — ― -", "€ £ ¥ ₽", "x² + y³ = z¹", "10⁻³", "H₂O",
        "😀", "a 😀 b", "😀😀", "👍🏽", "👨‍👩‍👧‍👦", "🏳️‍🌈", "🇩🇪🇫🇷", "❤️", "❤", "1️⃣", "☃️ snowman", "𝒜𝓫𝕮", "𠀀𠮷", "🀄",
        "日本語のテキスト", "红色的小房子。", "红色 的 小 房子", "猫和狗", "カメラとネコ", "빨간 집과 나무", "أحمر أخضر", "بيت\u064bشجرة", "लाल पेड़",
        "क्षि", "ไทย ภาษา",
        "ქართული", "Հայերեն", "עִבְרִית", "தமிழ்", "Ελληνικά ΟΔΟΣ", "Straße STRASSE ẞ", "İstanbul ıI", "Ǆ ǅ ǆ Ĳ",
        "œuvre Œ æ",
        "ñandú ¿qué? ¡sí!", "Żółć źdźbło", "зелёный Ёлка", "Z\u0351\u032ba\u0346l\u034cg\u0353o\u0355", "\u0301",
        " \u0301 a",
        "\u0301\u0302", "aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa", "ababababababababababab", "................",
        "!!!???",
        "-----", "_____", "a_b-c.d,e", "https://example.com/a?b=c&d=e#f", "user@example.org", "C:\\path\\file.txt",
        "{\"json\": [1, 2]}", "<html><b>bold</b></html>", "&amp; &lt; &#39;", "tab\tseparated\tvalues", "1,234.56",
        "3.14159",
        "2024-01-31T12:00:00Z", "0x1F600", "CamelCaseWord", "snake_case_word", "ALL CAPS TEXT", "MiXeD cAsE",
        "a red cube on a wooden table", "A photograph of a small cat beside the window, soft morning light, detailed",
        "ein kleines Mädchen über der Brücke", "une lumière d'été sur la rivière", "ünïcödé", "nai\u0308ve",
        "coo\u0308perate",
        "\U0001F468\u200d\U0001F4BB coder", "\u1e9b\u0323", "\u0958", "\ufb1d", "\u2126 \u212b", "\ud7ff\ue000",
        "a" + " " * 50 + "b", "\u3000\u3000a\u3000", "\n\n\nparagraph\n\nbreak\n", "x" * 300, "word " * 200, "日" * 200,
        "e\u0301" * 50, "🙂" * 40, "a\u200d" * 30, "▁" * 30 + "x", "\u00a0" * 10 + "x", "q\u0323\u0307 q\u0307\u0323",
    ]
    texts += sentences(11, 60)
    chance = random.Random(5)
    ranges = [
        (0x20, 0x7E), (0xA0, 0x17F), (0x300, 0x36F), (0x370, 0x3FF), (0x400, 0x4FF), (0x590, 0x6FF), (0x900, 0x97F),
        (0x1100, 0x11FF), (0x2000, 0x206F), (0x2070, 0x218F), (0x2500, 0x27BF), (0x3000, 0x30FF), (0x3200, 0x33FF),
        (0x4E00, 0x4F00), (0xAC00, 0xAD00), (0xFB00, 0xFB4F), (0xFE00, 0xFE6F), (0xFF00, 0xFFEF), (0x1D400, 0x1D4FF),
        (0x1F1E6, 0x1F1FF), (0x1F300, 0x1F64F), (0x00, 0x1F), (0x7F, 0x9F), (0xE000, 0xE010),
    ]
    for _ in range(90):
        parts = []
        for _ in range(chance.randint(1, 6)):
            low, high = chance.choice(ranges)
            parts.append("".join(chr(chance.randint(low, high)) for _ in range(chance.randint(1, 6))))
        texts.append(chance.choice(["", " ", "  "]).join(parts))
    return texts


def golden(folder):
    from transformers import T5Tokenizer

    tokenizer = T5Tokenizer.from_pretrained(str(folder))
    texts = strings()
    cases = []
    for text in texts:
        ids = tokenizer(text).input_ids
        case = {"text": text, "ids": ids}
        if len(ids) <= 40:
            case["decoded"] = tokenizer.decode(ids)
        cases.append(case)
    cut = []
    for text in texts[-100:-85] + ["", "a", "a b c </s> d"]:
        for length in (1, 2, 5, 9, 16):
            padded = tokenizer(text, padding="max_length", max_length=length, truncation=True, add_special_tokens=True)
            whole = tokenizer(text, padding="longest").input_ids
            dropped = ""
            if len(whole) >= length and whole != padded.input_ids:
                dropped = tokenizer.decode(whole[length - 1 : -1])
            cut.append({"text": text, "length": length, "ids": padded.input_ids,
                        "mask": padded.attention_mask, "dropped": dropped})
    return {"vocabulary": len(tokenizer), "pad": tokenizer.pad_token_id, "eos": tokenizer.eos_token_id,
            "unk": tokenizer.unk_token_id, "cases": cases, "cut": cut}


def write_json(path, value):
    path.write_text(json.dumps(value, ensure_ascii=True, indent=0, separators=(",", ":")).replace(",\n", ",") + "\n")


def make_tokenizers():
    from transformers import T5Tokenizer

    for name in ("nfkc", "legacy", "json"):
        shutil.rmtree(HERE / name, ignore_errors=True)
    with tempfile.TemporaryDirectory() as scratch:
        scratch = Path(scratch)
        # 1. As published T5 tokenizers come: spiece.model with nmt_nfkc, no extra ids of its own.
        nfkc = HERE / "nfkc"
        nfkc.mkdir(exist_ok=True)
        shutil.copyfile(train(scratch / "nfkc", 1, 1500), nfkc / "spiece.model")
        # 2. Legacy: a map of special tokens and a list of added tokens beside spiece.model.
        small = train(scratch / "small", 2, 700, RULES, user_defined_symbols="<wide>")
        legacy = HERE / "legacy"
        legacy.mkdir(exist_ok=True)
        shutil.copyfile(small, legacy / "spiece.model")
        count = len(T5Tokenizer.from_pretrained(str(legacy), extra_ids=0))
        extra = [f"<extra_id_{i}>" for i in range(5)]
        write_json(legacy / "tokenizer_config.json", {
            "additional_special_tokens": extra, "eos_token": "</s>", "extra_ids": 5, "model_max_length": 64,
            "pad_token": "<pad>", "tokenizer_class": "T5Tokenizer", "unk_token": "<unk>"})
        write_json(legacy / "special_tokens_map.json", {
            "additional_special_tokens": extra, "unk_token": "<unk>", "pad_token": "<pad>",
            "eos_token": {"content": "</s>", "lstrip": False, "normalized": False, "rstrip": False,
                          "single_word": False}})
        write_json(legacy / "added_tokens.json", {f"<extra_id_{i}>": count + 4 - i for i in range(5)})
        # 3. tokenizer.json alone, with added tokens of every kind.
        both = scratch / "both"
        both.mkdir()
        shutil.copyfile(small, both / "spiece.model")
        write_json(both / "tokenizer_config.json", {"extra_ids": 5})
        T5Tokenizer.from_pretrained(str(both)).save_pretrained(str(both))
        single = HERE / "json"
        single.mkdir(exist_ok=True)
        file = json.loads((both / "tokenizer.json").read_text())
        last = max(token["id"] for token in file["added_tokens"])
        kind = {"single_word": False, "lstrip": False, "rstrip": False, "normalized": False, "special": True}
        for token in file["added_tokens"]:
            if token["content"].startswith("<extra_id_"):
                token |= {"lstrip": True, "rstrip": True}
        file["added_tokens"] += [
            {"id": last + 1, "content": "<word>"} | kind | {"single_word": True, "special": False},
            {"id": last + 2, "content": "<Ａb>"} | kind | {"normalized": True, "special": False},
        ]
        write_json(single / "tokenizer.json", file)
        config = json.loads((both / "tokenizer_config.json").read_text())
        config.pop("added_tokens_decoder", None)
        write_json(single / "tokenizer_config.json", config)
    for name in ("nfkc", "legacy", "json"):
        write_json(HERE / f"{name}.expected.json", golden(HERE / name))


def captions(count, seed):
    """Prompts and what PixArt makes of them, with and without caption cleaning."""
    from caption_samples import samples
    from diffusers import PixArtSigmaPipeline

    pipeline = PixArtSigmaPipeline.__new__(PixArtSigmaPipeline)
    return [{"text": text, "clean": pipeline._text_preprocessing(text, clean_caption=True)[0],
             "plain": pipeline._text_preprocessing(text, clean_caption=False)[0]} for text in samples(count, seed)]


def entity_table():
    """Swift source with every named character reference, many to a line: `name=hex+hex`, `;` being part of the name."""
    rows, row = [], ""
    for name, text in sorted(html.entities.html5.items()):
        item = name.replace(";", "") + ("" if name.endswith(";") else "!") + "=" + "+".join(f"{ord(c):x}" for c in text)
        if len(row) + len(item) + 5 > 118:
            rows.append(row)
            row = ""
        row += (" " if row else "") + item
    rows.append(row)
    body = "\n".join("    " + row for row in rows)
    return (
        "// Generated by Tests/TokenizersTests/Fixtures/make_fixtures.py --entities "
        "from Python's html.entities.html5.\n\n"
        "extension HTMLEntities {\n"
        "  /// Every named character reference of HTML 5 as `name=scalar+scalar`; "
        "`!` ends a name that needs no semicolon.\n"
        '  static let table = """\n' + body + '\n    """\n}\n')


if __name__ == "__main__":
    if sys.argv[1:2] == ["--golden"]:
        write_json(Path(sys.argv[3]), golden(sys.argv[2]))
    elif sys.argv[1:2] == ["--captions"]:
        write_json(Path(sys.argv[2]), captions(int(sys.argv[3]), int(sys.argv[4])))
    elif sys.argv[1:2] == ["--entities"]:
        Path(sys.argv[2]).write_text(entity_table())
    else:
        make_tokenizers()
        write_json(HERE / "captions.expected.json", captions(150, 1))
