"""A tracer that keeps its spans."""

from __future__ import annotations

from dataclasses import dataclass, field

from hanseg_shared.traces import Span


@dataclass
class FakeTracer:
    """Keeps every span it takes."""

    spans: list[Span] = field(default_factory=list)
    is_on: bool = True

    def take(self, span: Span) -> None:
        self.spans.append(span)

    def close(self) -> None:
        pass

    def named(self, name: str) -> list[Span]:
        return [span for span in self.spans if span.name == name]

    def one(self, name: str) -> Span:
        [found] = self.named(name)
        return found

    def parent_of(self, span: Span) -> Span:
        [found] = [each for each in self.spans if each.span_id == span.parent_id]
        return found
