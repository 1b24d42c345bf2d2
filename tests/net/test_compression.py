"""Compression: every encoding round-trips, agrees with other implementations, and never gives more than the limit."""

import gzip
import random
import time
import zlib
from collections.abc import Callable

import cramjam
import pytest
import zstandard

from heliograph.net.compression import ENCODINGS, TooLarge, compress, decompress, known
from heliograph.otlp.errors import MalformedPayload
from heliograph.testing.memory import PeakMemory

TEXT = b"a line of text that repeats itself\n" * 5000
NOISE = random.Random(7).randbytes(100_000)
LIMIT = 1 << 20


@pytest.mark.parametrize("encoding", ENCODINGS)
@pytest.mark.parametrize("data", [b"", b"x", TEXT, NOISE], ids=["empty", "one", "text", "noise"])
def test_what_is_compressed_comes_back(encoding: str, data: bytes) -> None:
    """Round trip, also for nothing and for what cannot be compressed."""
    assert decompress(encoding, compress(encoding, data), LIMIT) == data


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_exactly_the_limit_passes_and_one_byte_more_does_not(encoding: str) -> None:
    """The limit counts bytes of output."""
    packed = compress(encoding, TEXT)
    assert decompress(encoding, packed, len(TEXT)) == TEXT
    with pytest.raises(TooLarge, match=f"more than {len(TEXT) - 1} bytes"):
        decompress(encoding, packed, len(TEXT) - 1)


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_a_message_cut_anywhere_is_malformed(encoding: str) -> None:
    """No prefix passes for the whole."""
    packed = compress(encoding, TEXT[:700])
    for size in [*range(min(40, len(packed))), len(packed) // 2, len(packed) - 1]:
        try:
            plain = decompress(encoding, packed[:size], LIMIT)
        except MalformedPayload:
            continue
        assert (encoding, size, plain) == ("x-snappy-framed", 10, b""), "only a framed stream may end after its header"


@pytest.mark.parametrize("encoding", ENCODINGS)
def test_random_bytes_are_malformed_or_small(encoding: str) -> None:
    """Whatever the bytes, the only errors are the two of the contract."""
    source = random.Random(encoding)
    for size in range(300):
        try:
            assert len(decompress(encoding, source.randbytes(size), 5000)) <= 5000
        except (MalformedPayload, TooLarge):
            pass


@pytest.mark.parametrize(
    ("encoding", "bomb"),
    [
        ("gzip", lambda: gzip.compress(bytes(200 << 20), 9)),
        ("deflate", lambda: zlib.compress(bytes(200 << 20), 9)),
        ("zstd", lambda: zstandard.compress(bytes(200 << 20))),
        ("zstd", lambda: zstandard.ZstdCompressor(write_content_size=False).compress(bytes(200 << 20))),
        ("lz4", lambda: bytes(cramjam.lz4.compress(bytes(200 << 20)))),
        ("snappy", lambda: bytes(cramjam.snappy.compress_raw(bytes(200 << 20)))),
    ],
    ids=["gzip", "deflate", "zstd", "zstd-stream", "lz4", "snappy"],
)
def test_a_bomb_is_refused_without_its_memory(encoding: str, bomb: Callable[[], bytes]) -> None:
    """200 MiB of zeros in a few bytes: refused, and the process does not grow by what is in it."""
    packed = bomb()
    with PeakMemory() as memory, pytest.raises(TooLarge):
        decompress(encoding, packed, LIMIT)
    assert memory.grown < 16 << 20


def test_other_implementations_agree() -> None:
    """gzip and zlib of the standard library, several gzip members in a row, several zstd frames."""
    assert decompress("gzip", gzip.compress(TEXT[:99]) + gzip.compress(TEXT[99:]), LIMIT) == TEXT
    assert decompress("zlib", zlib.compress(TEXT), LIMIT) == TEXT
    assert decompress("zstd", zstandard.compress(b"ab") + zstandard.compress(b"cd"), LIMIT) == b"abcd"
    assert gzip.decompress(compress("gzip", TEXT)) == TEXT
    assert zlib.decompress(compress("deflate", TEXT, 9)) == TEXT
    with pytest.raises(MalformedPayload):
        decompress("deflate", zlib.compress(TEXT)[2:-4], LIMIT)


def test_framed_snappy_is_recognised_under_the_name_of_the_block_format() -> None:
    """Older Collectors send it so."""
    assert decompress("snappy", bytes(cramjam.snappy.compress(TEXT)), LIMIT) == TEXT


def test_a_higher_level_compresses_better() -> None:
    """`compression_params::level` has an effect, and 0 is the default."""
    words = [f"word{number} ".encode() for number in range(300)]
    mixed = b"".join(random.Random(3).choices(words, k=20_000))
    for encoding in ("gzip", "zstd"):
        assert len(compress(encoding, mixed, 9)) < len(compress(encoding, mixed, 1))
        assert compress(encoding, mixed, 0) == compress(encoding, mixed)


def test_no_compression_is_bounded_too_and_unknown_names_are_refused() -> None:
    """none and "" hand the bytes through."""
    assert decompress("none", b"ab", 2) == b"ab"
    with pytest.raises(TooLarge):
        decompress("", b"abc", 2)
    assert not known("br")
    with pytest.raises(ValueError, match="br"):
        decompress("br", b"", 1)


def test_very_many_gzip_members_take_linear_time_and_have_an_end() -> None:
    """A body of empty members is neither quadratic work nor endless."""
    empty = gzip.compress(b"")
    begun = time.process_time()
    assert decompress("gzip", empty * 9000 + gzip.compress(TEXT) + empty * 10, LIMIT) == TEXT
    with pytest.raises(MalformedPayload, match="more than 10000 members"):
        decompress("gzip", empty * 500_000, LIMIT)
    assert time.process_time() - begun < 2
