"""The stages of a job, in order: who works on each and what follows it."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

from hanseg_shared.documents import JobState
from hanseg_shared.jobs import messages
from hanseg_shared.jobs.messages import QueueName


@dataclass(frozen=True, slots=True)
class StagePlan:
    """What a stage needs.

    Attributes:
        state: The job's state while the stage is due or being worked on.
        queue: Where its message goes.
        task: The Celery task that does it.
    """

    state: JobState
    queue: QueueName
    task: str


class Stage(Enum):
    """One step that a worker claims, does and publishes as a whole."""

    REGISTER = StagePlan(
        JobState.REGISTERING, QueueName.REGISTRATION, messages.TASK_REGISTER
    )
    SEGMENT = StagePlan(
        JobState.SEGMENTING, QueueName.SEGMENTATION, messages.TASK_SEGMENT
    )
    PACKAGE = StagePlan(
        JobState.PACKAGING, QueueName.SEGMENTATION, messages.TASK_PACKAGE
    )

    @property
    def state(self) -> JobState:
        """The job's state while this stage is due or being worked on."""
        return self.value.state

    @property
    def queue(self) -> QueueName:
        """The queue its message goes to."""
        return self.value.queue

    @property
    def task(self) -> str:
        """The name of the Celery task that does it."""
        return self.value.task

    @property
    def following(self) -> Stage | None:
        """The next stage; None after the last."""
        stages = list(Stage)
        position = stages.index(self) + 1
        return stages[position] if position < len(stages) else None

    @property
    def claimable_states(self) -> tuple[JobState, ...]:
        """States in which this stage may be claimed."""
        if self is Stage.REGISTER:
            return (JobState.QUEUED, JobState.REGISTERING)
        return (self.state,)

    @classmethod
    def due_in(cls, state: JobState) -> Stage | None:
        """Return the stage that is due in a state; None in a final one."""
        return next((s for s in cls if state in s.claimable_states), None)
