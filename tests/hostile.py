"""Names that a reader's browser would fetch, draw or misread if they were more than text."""

from __future__ import annotations

HOST = "evil.example"
NAMES = (
    f"![x](http://{HOST}/a.png) [x](http://{HOST}) [x]: http://{HOST} [x][y] [^1]",
    f"http://{HOST}/a and <https://{HOST}>, www.{HOST} or WWW.{HOST}, me@{HOST}",
    f"ftp://{HOST}/x mailto:me@{HOST}",
    f"<img src=http://{HOST}/b.png> <b>x</b> </script> <!-- x --> \" onerror='x'",
    ":smile: :material/skull: :streamlit: :red[x] :red-background[x] :small[x] ::x[y]{z} :::x",
    rf"$x$ $$\href{{http://{HOST}}}{{x}}$$ {{{{7*7}}}} %{{x}} ${{x}}",
    "a -> b <- c <-> d -- e >= f <= g ~= h a---b x--y ->z a:-> b :-- c",
    "~~a~~ ==b== **c** __d__ *e* _f_ a_b a__b_c_ -_d_ é_é_ `g` ```h``` | a | b |",
    r"&lt; &amp; &#33; &copy; \ \\ \* \_ \: C:\data\x.png a" + "\\",
    "1. one # two #",
    *("2) one", "- one", "+ one", "* one", "# one", "> one", "=== one", "---", "***", "-> one"),
    "n01440764_a-b (x) [v2] 12:30 a:b c::d e: f h@ @i 100 % a=b c+d + e - f 3.5 1.",
    "Ëin Námé 图像 קוֹל \N{FAMILY}\N{ZERO WIDTH JOINER}\N{FIRE}",
)
"""On one line each, so that all of it is seen as it is written."""

UNSEEN = "gp\N{RIGHT-TO-LEFT OVERRIDE}gnp.exe\N{ZERO WIDTH SPACE}\N{NULL}\ud800"
"""What would be read in another order than it is written, or not at all."""
