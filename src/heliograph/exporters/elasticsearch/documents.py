"""What encoding makes of a batch: documents ready for a bulk request, and what became no document."""


class Documents:
    """Documents of one batch, in order.

    lines: for each document its action line and its own line, with their newlines, in one piece.
    items: how many spans, log records or data points each document holds (span events: 0).
    id: what ids of documents of the section in work begin with, or b"".
    left_out: reason -> items that become no document. notes: texts to be logged once for each batch.
    """

    def __init__(self) -> None:
        self.lines: list[bytes] = []
        self.items: list[int] = []
        self.id: bytes = b""
        self.left_out: dict[str, int] = {}
        self.notes: dict[str, int] = {}

    def leave_out(self, reason: str, items: int, note: str) -> None:
        """Items that no document is made of."""
        self.left_out[reason] = self.left_out.get(reason, 0) + items
        if note:
            self.note(note)

    def note(self, text: str) -> None:
        """Something to be logged; at most 20 different texts a batch."""
        if text in self.notes or len(self.notes) < 20:
            self.notes[text] = self.notes.get(text, 0) + 1
