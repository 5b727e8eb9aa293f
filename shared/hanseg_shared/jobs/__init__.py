"""A job and its states: the row that is the truth, and the rules that change it."""

from hanseg_shared.jobs.record import Batch, Job, NewJob, Upload
from hanseg_shared.jobs.repository import JobRepository
from hanseg_shared.jobs.stages import Stage

__all__ = ["Batch", "Job", "JobRepository", "NewJob", "Stage", "Upload"]
