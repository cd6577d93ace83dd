"""Made-up prompts for the caption fixtures: one or more per rule of PixArt's caption cleaning, then random mixtures."""

import random

WRITTEN = [
    "", " ", "A red cube on a wooden table", "  Leading and trailing  ", "\n\tTabs\nand lines\r\n", "MiXeD CaSe ÄÖÜ É",
    "ΟΔΟΣ ΣΟΦΟΣ Σ ΑΣ.", "İstanbul Kırmızı", "100% cotton", "50%25 off", "a+b=c", "caf%C3%A9 at night", "%E6%97%A5 x",
    "%zz %4",
    "%ff%fe bad bytes", "<person> standing by a river", "< person >", "visit https://example.com/page now",
    "http://a.b.co.uk/x?y=z#w end", "https:/oops", "see www.example.org/path/to-file_1/", "example.com",
    "mail me@example.com",
    "foo.bar.net/@user", "www:example", "www://x.y", "subdomain.museum.it is open", "3.com a.ru,b.edu;c.gov",
    "e.g. this.comet",
    "-.com", "x.communication", "site.com.", "https://", "a https://b.com/c-d/e_f/?q=1 c", "ftp://host.net/file",
    "<b>bold</b> and <i>italic</i>", "<p>One</p><p>Two</p>", "a<br>b<br/>c", "<div class=\"x\">in</div> out",
    "before <!-- comment --> after", "<!DOCTYPE html><html><body>hi</body></html>", "<script>alert(1)</script>text",
    "<style>p{color:red}</style>text", "a < b and c > d", "a <b", "<a href='x'>link</a>",
    "<a href=\"unterminated>text</a>",
    "<ruby>kan<rt>ka</rt><rp>(</rp></ruby>", "<template>hidden</template>shown", "<?php echo 1 ?> tail",
    "<![CDATA[inside]]> tail",
    "</b> stray", "<>", "</>", "< >", "<1>", "<a b=c/>x", "<img src=x.png alt='y'> z", "<scr<script>ipt>", "<!-- open",
    "<!bogus> x", "<p", "a <p >b</p >", "<textarea> keep </textarea>", "<b><i>nest</b></i> end", "x<3 y", "I <3 you",
    "&amp; &lt;b&gt; &quot;q&quot; &#39;", "&amp;amp; &amp;lt;", "AT&T", "AT&T rocks", "R&D lab & co",
    "&eacute;t&eacute;",
    "&eacute &copy 2020", "&nbsp;x&nbsp;", "&hellip; &mdash; &ndash;", "&#65;&#x42;&#0;", "&#128512; &#x1F600;",
    "&#150; &#x80;",
    "&#xyz; a", "&# b;", "&unknown; c", "&notit; x", "&", "& ", "a&", "&a", "&#", "&quot", "&sup2;&frac12;", "&#8217;s",
    "@nickname in a park", "a@b c @d1_2", "@ alone", "email: @x.y", "红色的房子 with 山", "㈱ ㍿ ㎏", "カタカナ テスト", "한국어 text",
    "a – b — c ― d", "state-of-the-art", "one-two-three-four-five", "snake_case_with_many_parts", "a-b_c-d",
    "«quotes» “curly” ‘single’ `tick´", "\"quoted\"", "'quoted'", "\"\"\"AUSVERKAUFT\"\"\"", "***AUSVERKAUFT***",
    "#AUSVERKAUFT",
    "don't 'stop'", "''", "\"a", "server 192.168.0.1 up", "1.2.3.4.5", "1234.1.1.1", "999.999.999.9999", "at 3:45 ",
    "at 3:45",
    "3:45  \n", "line\\nbreak", "#1 #12 #123 #1234 #12345 #1a", "12345 123456 1234567", "a123456 123456b",
    "photo.png and image.jpeg", "my.photo.jpg.zip", "x.mp4.y.pdf tail", ".png", "a.b.webp,c", "hello... world..",
    "wait .... what",
    "a . b . c", "end .", "®™©•&·º½¾¿¡§~()[]{}|/\\*", "50/50 split", "C:\\dir", "ﬁne ﬂow ﬀ ŉ ĳ ǆ", "ＦＵＬＬ ｗｉｄｔｈ １２３！",
    "ｶﾞ ｱ ﾊﾟ",
    "a\u3000b", "\u2028line\u2029sep", "\x85next", "\x80euro \x93q\x94", "\x1b[31mred\x1b[0m",
    "nul\x00 bell\x07 del\x7f",
    "\ufeffbom \ufffc", "e\u0301 cafe\u0301", "\u212b \u2126", "zero\u200bwidth\u200djoin", "soft\u00adhyphen",
    "jc6640",
    "ab12 abcd123 abc1234567890123456", "jc6640vc", "6640vc231", "x1y2z3", "j2d1a2a and a1b2c3d4", "1a2b3c",
    "b52 r2d2 c3po",
    "worldwide free shipping", "free shipping today", "worldwide  shipping", "shipping box", "free download",
    "download free",
    "free download free", "freedownload", "click for more details", "click on image", "click here", "clicked on x",
    "png image", "jpg images", "pdf", "pngs", "mp4 image here", "page 12", "page  3 of 4", "page 12a", "homepage 5",
    "1024x768 wallpaper", "1920×1080", "4х4", "2.5x3.5", "3x", "x3", "10x10x10", "1.x2.y", "5x5.", "5x5.a",
    "title : subtitle", "a  :  b", " : c", "one,two,three", "a.b.c", "1,000", "x,y/z", "end.Start", "wait,what",
    "_start", "end_", "-dash-", "'apos", "semi;", ":colon", "plus+", "trailing,", ".hidden", ".hidden file", "..",
    ". .",
    "😀 smile 👍🏽 family 👨‍👩‍👧", "❤️ love", "🇩🇪 flag", "عربي نص", "हिन्दी", "ไทย", "ａ\u0302", "\u1e9e ß", "ǅ titlecase",
    "x" * 60, "a b " * 30, "&amp;" * 20, "<b>" * 20 + "x", "\u00e9\u00a0\u00e8", "½ cup ¾ full", "10°C 5µm",
    "tail \\n", "%26amp%3B",
    "&lt;script&gt;x&lt;/script&gt;", "&lt;b&gt;bold&lt;/b&gt;", "a&lt;b", "1&nbsp;000", "Q&amp;A: <b>yes</b>&hellip;",
    "A photograph of a small cat, beside the window; soft morning light (detailed), 35mm film --ar 16:9",
    "An astronaut riding a horse, highly-detailed, 8k, trending on artstation.com", "cinematic shot, f/1.8, ISO-100",
]

PIECES = [
    "a red cube", "Lamp", "https://x.com/y", "b.org/", "<b>", "</b>", "<br/>", "&amp;", "&lt;", "&eacute;", "&#39;",
    "@user", "山",
    "—", "“", "”", "'", "\"", "1.2.3.4", "#12", "123456", "img.png", "...", "*", "(", ")", "/", "\\n", " . ", "-",
    "_", "ﬁ", "Ａ",
    "\u3000", "jc6640", "ab1c", "1ab2", "free", "shipping", "download", "click on", "page 3", "12x13", " : ", ",",
    ".", ";", ":",
    " ", "  ", "\n", "%41", "+", "e\u0301", "😀", "Σ", "©", "½", "<", ">", "&", "x=1", "mp4 image", "3:45", "+", "é",
    "\u00a0", "²",
]


def samples(count, seed):
    """The written prompts, then `count` random ones."""
    chance = random.Random(seed)
    texts = list(WRITTEN)
    for _ in range(count):
        texts.append(chance.choice(["", " "]).join(chance.choice(PIECES) for _ in range(chance.randint(2, 12))))
    return texts
