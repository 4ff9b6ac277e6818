"""What a training reports as it goes on."""

from dataclasses import dataclass


@dataclass(frozen=True)
class TrainingEvent:
    """Something done: a stage, what it was about, and a sentence for people."""

    stage: str
    what: str
    text: str
