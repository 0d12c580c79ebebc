"""The 96 symbols the proxy language model reads: newline and printable ASCII.

Symbol 0 is newline; symbol ``b - 31`` is the byte ``b`` for ``b`` in 32..126. Text is brought into
this alphabet by five rules, in this order:

1. A character outside ASCII, decoded as UTF-8, becomes one ``?``, however many bytes it has.
2. A byte that is not part of valid UTF-8 becomes one ``?``.
3. ``\\r\\n`` and a lone ``\\r`` become a newline.
4. A tab becomes four spaces.
5. Every other control byte (0..31 and 127) becomes one ``?``.
"""

import numpy as np
import numpy.typing as npt

VOCABULARY_SIZE = 96
NEWLINE = 0

_FIRST_PRINTABLE, _LAST_PRINTABLE = 32, 126


def _symbol_of_byte() -> npt.NDArray[np.uint8]:
    """The symbol of every byte, ``?`` where the alphabet has none."""
    table = np.full(256, ord("?") - _FIRST_PRINTABLE + 1, dtype=np.uint8)
    table[_FIRST_PRINTABLE : _LAST_PRINTABLE + 1] = np.arange(1, VOCABULARY_SIZE)
    table[[ord("\n"), ord("\r")]] = NEWLINE
    return table


_SYMBOL_OF_BYTE = _symbol_of_byte()
_BYTE_OF_SYMBOL = np.array([ord("\n"), *range(_FIRST_PRINTABLE, _LAST_PRINTABLE + 1)], dtype=np.uint8)


def encode(data: bytes) -> npt.NDArray[np.uint8]:
    """The symbols of ``data``, one ``uint8`` each, by the rules of this module.

    >>> encode(b"a\\tb\\r\\n").tolist()
    [66, 1, 1, 1, 1, 67, 0]
    >>> encode("é".encode()).tolist() == encode(b"?").tolist()
    True
    """
    if not data.isascii():
        # An invalid byte decodes to one lone surrogate, which then becomes one "?" like any character.
        data = data.decode("utf-8", "surrogateescape").encode("ascii", "replace")
    data = data.replace(b"\r\n", b"\n").replace(b"\t", b"    ")
    return _SYMBOL_OF_BYTE[np.frombuffer(data, dtype=np.uint8)]


def decode(symbols: npt.ArrayLike) -> str:
    """The text of ``symbols``, integers in 0..95 read in row order.

    >>> decode([66, 0, 67])
    'a\\nb'

    Raises:
        ValueError: a symbol lies outside 0..95.
    """
    array = np.asarray(symbols)
    if array.size == 0:
        return ""
    if array.min() < 0 or array.max() >= VOCABULARY_SIZE:
        raise ValueError(f"symbols span {array.min()} to {array.max()}, outside 0 to {VOCABULARY_SIZE - 1}")
    return _BYTE_OF_SYMBOL[array].tobytes().decode("ascii")
