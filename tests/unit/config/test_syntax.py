from __future__ import annotations

import pytest

from moby.config.source import read
from moby.errors import ConfigError

INDENT = "all keys of one mapping start in the same column"


@pytest.mark.parametrize(
    ("text", "expected"),
    [
        ("a:\n\t- b\n", "f.yml:2:1: not YAML: a tab in the indentation (indent with spaces)"),
        ("a:\n  b: 1\n\tc: 2\n", "f.yml:3:1: not YAML: a tab in the indentation (indent with spaces)"),
        ("a: |\n  x\n\ty\n", "f.yml:3:1: not YAML: a tab in the indentation (indent with spaces)"),
        ("a: b: c\n", "f.yml:1:5: not YAML: unexpected ':'"),
        ("a: [1,\nb: 3\n", "f.yml:1:4: not YAML: a list in [ ] is not closed (add ',' or ']')"),
        ("a: {b: c\n", "f.yml:1:4: not YAML: a mapping in { } is not closed (add ',' or '}')"),
        ("a: 'abc\n", "f.yml:1:4: not YAML: a quoted text is not closed (add the closing quote)"),
        ("a:\n  - b\n c: d\n", f"f.yml:3:2: not YAML: expected a key (check the indentation: {INDENT})"),
        ("- a\nb: c\n", "f.yml:2:1: not YAML: expected another '- ' of the list"),
        ("a: |\n text\nbad\n", "f.yml:3:1: not YAML: this line has no ':' after its key"),
        ("a: - b\n", "f.yml:1:4: not YAML: unexpected '- ' (start the list on a line of its own)"),
        ("a: @pkg:x\n", "f.yml:1:4: not YAML: a value cannot start with '@' (quote it: \"@pkg:x\")"),
        ("a: @pkg:x   # why\n", "f.yml:1:4: not YAML: a value cannot start with '@' (quote it: \"@pkg:x\")"),
        ("a: @x b: c\n", "f.yml:1:4: not YAML: a value cannot start with '@' (quote it: \"@x b\")"),
        ("a: @x, y]\n", "f.yml:1:4: not YAML: a value cannot start with '@' (quote it: \"@x, y]\")"),
        ("{a: @pkg:x}\n", "f.yml:1:5: not YAML: a value cannot start with '@' (quote it: \"@pkg:x\")"),
        ("a: [@pkg:x, @pkg:y]\n", "f.yml:1:5: not YAML: a value cannot start with '@' (quote it: \"@pkg:x\")"),
        ("a: [b,\n  @pkg:x]\n", "f.yml:2:3: not YAML: a value cannot start with '@' (quote it: \"@pkg:x\")"),
        ("a: [b]\nc: @x, y\n", "f.yml:2:4: not YAML: a value cannot start with '@' (quote it: \"@x, y\")"),
        ("a: `x`\n", "f.yml:1:4: not YAML: a value cannot start with '`' (quote it: \"`x`\")"),
        ("a: @x'\n", "f.yml:1:4: not YAML: a value cannot start with '@' (quote the value)"),
        ("a: *nope\n", "f.yml:1:4: not YAML: this alias has no anchor before it"),
        ("a: &x 1\nb: &x 2\n", "f.yml:2:4: not YAML: this anchor name is used twice"),
        ('a: "\\q"\n', "f.yml:1:5: not YAML: unknown escape in a text in double quotes"),
        ("a: 1\nb: \x07\n", "f.yml:2:4: not YAML: has the character '\\x07'"),
        ("%foo\n", "f.yml:1:5: not YAML: found unknown directive name"),
    ],
)
def test_syntax_errors_are_placed_and_in_plain_words(text: str, expected: str) -> None:
    with pytest.raises(ConfigError) as caught:
        read(text, file="f.yml")
    assert str(caught.value).startswith(expected)
