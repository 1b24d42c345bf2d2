"""Header blocks: the same reading as the hpack library's, and the limits."""

import pytest
from hpack import Decoder, Encoder
from hypothesis import given, settings
from hypothesis import strategies as st

from heliograph.net.http2 import frames
from heliograph.net.http2.errors import ConnectionFault
from heliograph.net.http2.header_block import BlockDecoder, encode_header, encode_headers

NAMES = st.sampled_from(
    [b":path", b"grpc-timeout", b"te", b"user-agent", b"x-custom-name", b"authorization", b"accept"]
)
VALUES = st.one_of(st.sampled_from([b"/a/b", b"trailers", b""]), st.binary(max_size=300))
LISTS = st.lists(st.lists(st.tuples(NAMES, VALUES, st.booleans()), max_size=12), max_size=8)


def text(headers: list[tuple[bytes, bytes]]) -> list[tuple[str, str]]:
    return [(name.decode("latin-1"), value.decode("latin-1")) for name, value in headers]


@given(LISTS, st.booleans())
@settings(max_examples=150, deadline=None)
def test_blocks_of_another_encoder_read_as_they_were_written(
    lists: list[list[tuple[bytes, bytes, bool]]], huffman: bool
) -> None:
    """A sequence of blocks with a dynamic table, evictions included, gives the headers that went in."""
    encoder = Encoder()
    decoder = BlockDecoder(1 << 20)
    for headers in lists * 3:
        block = decoder.decode(encoder.encode(headers, huffman=huffman))
        assert block.headers == text([(name, value) for name, value, _ in headers])
        assert not block.oversized


@given(st.lists(st.tuples(NAMES, VALUES), max_size=12))
@settings(max_examples=100, deadline=None)
def test_what_is_written_reads_the_same_in_another_decoder(headers: list[tuple[bytes, bytes]]) -> None:
    """Our blocks are valid HPACK."""
    read = Decoder(max_header_list_size=1 << 20).decode(encode_headers(headers), raw=True)
    assert [(bytes(name), bytes(value)) for name, value in read] == headers


@given(st.lists(st.binary(max_size=64), max_size=8))
@settings(max_examples=300, deadline=None)
def test_random_blocks_are_read_or_refused(blocks: list[bytes]) -> None:
    """Nothing but ConnectionFault comes out of the decoder."""
    decoder = BlockDecoder(4096)
    for block in blocks:
        try:
            decoder.decode(block)
        except ConnectionFault:
            return


def test_a_remembered_block_is_forgotten_when_the_table_changes() -> None:
    """The same bytes mean other headers after an insertion."""
    decoder = BlockDecoder(4096)
    insert_a, insert_b = b"\x40\x01a\x011", b"\x40\x01b\x012"
    newest = b"\xbe"  # index 62
    assert decoder.decode(insert_a).headers == [("a", "1")]
    assert decoder.decode(newest) is decoder.decode(newest)
    assert decoder.decode(newest).headers == [("a", "1")]
    decoder.decode(insert_b)
    assert decoder.decode(newest).headers == [("b", "2")]
    decoder.decode(b"\x20\x3f\xe1\x1f")  # table emptied, then 4096 again
    with pytest.raises(ConnectionFault):
        decoder.decode(newest)


def test_an_oversized_list_still_updates_the_table() -> None:
    """Later blocks that refer to entries of the oversized one are right."""
    encoder = Encoder()
    decoder = BlockDecoder(1000)
    large = [(b"large", b"x" * 900), (b"larger", b"y" * 900), (b"small", b"z")]
    assert decoder.decode(encoder.encode(large)).oversized
    again = decoder.decode(encoder.encode([(b"small", b"z")]))
    assert again.headers == [("small", "z")]
    assert not again.oversized


@pytest.mark.parametrize(
    ("block", "problem"),
    [
        (b"\x40\x01A\x01b", "header name 'A'"),
        (b"\x40\x00\x01b", "header name ''"),
        (b"\x40\x01b\x01b\x83", "pseudo-header :method after"),
        (b"\x40\x0aconnection\x01b", "connection-specific header connection"),
    ],
)
def test_headers_that_http2_forbids_are_named(block: bytes, problem: str) -> None:
    """The block is read, and its problem says which header breaks the rule."""
    assert BlockDecoder(4096).decode(block).problem.startswith(problem)


@pytest.mark.parametrize(
    "block",
    [
        b"\x80",  # index 0
        b"\xff\xff\xff\xff\xff\xff\x0f",  # integer too long
        b"\xff",  # ends in an integer
        b"\x40\x05abc",  # ends in a string
        b"\x40\x81\x00\x00",  # bad Huffman padding
        b"\x3f\xe2\x1f",  # table size 4097
        b"\x83\x20",  # size update after a header
        b"\xfe",  # nothing at index 126
    ],
)
def test_unreadable_blocks_are_faults(block: bytes) -> None:
    """Each is a connection error, because the table's state is lost."""
    with pytest.raises(ConnectionFault) as raised:
        BlockDecoder(4096).decode(block)
    assert raised.value.code == frames.COMPRESSION_ERROR


def test_sensitive_headers_are_never_indexed() -> None:
    """Intermediaries are told not to compress credentials."""
    assert encode_header(b"authorization", b"Bearer x", True)[0] & 0xF0 == 0x10
