"""Every rule of the vocabulary, and that text inside it survives a round trip."""

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from einsearch.proxy.vocabulary import NEWLINE, VOCABULARY_SIZE, decode, encode

ALPHABET = "\n" + "".join(map(chr, range(32, 127)))


def test_alphabet_is_newline_then_printable_ascii() -> None:
    symbols = encode(ALPHABET.encode())
    assert symbols.dtype == np.uint8
    assert symbols.tolist() == list(range(VOCABULARY_SIZE))
    assert decode(range(VOCABULARY_SIZE)) == ALPHABET
    assert encode(b"\n").tolist() == [NEWLINE]
    assert encode(b"A").tolist() == [ord("A") - 31]


@pytest.mark.parametrize(
    ("data", "text"),
    [
        (b"", ""),
        (b"a\r\nb", "a\nb"),
        (b"a\rb", "a\nb"),
        (b"a\r\r\n\nb", "a\n\n\nb"),
        (b"\tx", "    x"),
        (b"a\x00b\x0c\x1b\x7f", "a?b???"),
        ("naïve €5 𝄞\r\n".encode(), "na?ve ?5 ?\n"),
        (b"latin \xe9 \xff\xfe", "latin ? ??"),
        (b"cut \xe2\x82", "cut ??"),
        ("é\t\x00".encode(), "?    ?"),
    ],
)
def test_rules(data: bytes, text: str) -> None:
    assert decode(encode(data)) == text


@given(st.text(st.sampled_from(ALPHABET)))
def test_text_in_the_alphabet_survives(text: str) -> None:
    assert decode(encode(text.encode())) == text


@given(st.binary())
def test_any_bytes_give_symbols_of_the_vocabulary(data: bytes) -> None:
    symbols = encode(data)
    assert all(symbol < VOCABULARY_SIZE for symbol in symbols.tolist())
    assert np.array_equal(encode(decode(symbols).encode()), symbols)


@given(st.text(st.characters(exclude_categories=["Cs"], exclude_characters="\r\t")))
def test_one_character_becomes_one_symbol(text: str) -> None:
    assert encode(text.encode()).size == len(text)


@pytest.mark.parametrize("symbols", [[96], [-1]])
def test_decode_refuses_a_symbol_outside_the_vocabulary(symbols: list[int]) -> None:
    with pytest.raises(ValueError, match=r"^symbols span (96|-1) to (96|-1), outside 0 to 95$"):
        decode(symbols)
