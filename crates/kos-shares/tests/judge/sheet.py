"""Python's HTML parser reads a sheet: what it shows, and that nothing in it loads or runs.

Reads a page from stdin, writes {"title", "facts", "words", "path"}.
"""

import json
import sys
from html.parser import HTMLParser

ALLOWED = {
    "html": {"lang"}, "head": set(), "meta": {"charset", "http-equiv", "content", "name"}, "title": set(), "style": set(),
    "body": set(), "h1": set(), "dl": set(), "dt": set(), "dd": set(), "ol": set(), "li": set(), "p": set(),
    "svg": {"xmlns", "viewbox", "role", "aria-label", "shape-rendering"}, "rect": {"width", "height", "fill"},
    "path": {"d", "fill"},
}  # fmt: skip
EMPTY = {"meta", "rect", "path"}


class Page(HTMLParser):
    def __init__(self):
        super().__init__(convert_charrefs=True)
        self.open, self.texts, self.policy, self.path = [], [], None, None

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        assert tag in ALLOWED and set(attributes) <= ALLOWED[tag], (tag, attributes)
        if attributes.get("http-equiv") == "Content-Security-Policy":
            self.policy = attributes["content"]
        if tag == "path":
            self.path = attributes["d"]
        if tag not in EMPTY:
            self.open.append(tag)
            self.texts.append((tag, ""))

    def handle_startendtag(self, tag, attributes):
        self.handle_starttag(tag, attributes)
        if tag not in EMPTY:
            self.open.pop()

    def handle_endtag(self, tag):
        assert self.open.pop() == tag, tag

    def handle_data(self, data):
        if self.open and self.texts[-1][0] == self.open[-1]:
            self.texts[-1] = (self.open[-1], self.texts[-1][1] + data)
        else:
            assert data.isspace(), data


text = sys.stdin.read()
page = Page()
page.feed(text)
page.close()
assert page.open == [] and page.policy == "default-src 'none'; style-src 'unsafe-inline'", page.policy
styles = [text for tag, text in page.texts if tag == "style"]
assert len(styles) == 1 and "url" not in styles[0] and "@import" not in styles[0]


def all_of(tag):
    return [text for found, text in page.texts if found == tag]


json.dump(
    {
        "title": all_of("title"),
        "facts": dict(zip(all_of("dt"), all_of("dd"), strict=True)),
        "words": all_of("li"),
        "path": page.path,
    },
    sys.stdout,
)
