"""Whose turn it is: urgent first, owners in turn, models that are loaded, limits."""

from __future__ import annotations

from collections import Counter

import pytest

from hanseg_shared.access import Scope
from hanseg_shared.documents import JobOptions, Priority
from hanseg_shared.jobs.record import Job, StageResult
from hanseg_shared.jobs.stages import Stage
from hanseg_shared.jobs.tables.claims import Claimed
from hanseg_shared.jobs.tables.tables import Tables
from hanseg_shared.jobs.tables.turns import Wish
from tests.jobs.fakes import new_job

REGISTER = Wish((Stage.REGISTER,))
SEGMENT = Wish((Stage.SEGMENT, Stage.PACKAGE))


def take(tables: Tables, wish: Wish = REGISTER) -> Job:
    """Claim the job whose turn it is."""
    claimed = tables.claims.claim_next(wish, lease_seconds=30.0)
    assert claimed is not None
    return claimed.job


def finish(tables: Tables, claimed: Claimed | None) -> None:
    assert claimed is not None
    assert tables.claims.finish_stage(claimed.job, claimed.stage, StageResult())


def registered(tables: Tables, clock, owner: str = "a", **values) -> str:
    """Make a job whose registration is done, a second after the one before."""
    job = new_job(tables, owned_by=owner, **values)
    clock.advance(1.0)
    claimed = tables.claims.claim(job.id, Stage.REGISTER, lease_seconds=30.0)
    assert claimed is not None
    finish(tables, Claimed(claimed, Stage.REGISTER))
    return job.id


def test_nothing_is_taken_where_nothing_is_due(tables):
    assert tables.claims.claim_next(REGISTER, lease_seconds=30.0) is None


def test_an_owners_jobs_are_done_in_the_order_they_came(tables, clock):
    jobs = []
    for _ in range(3):
        jobs.append(new_job(tables).id)
        clock.advance(1.0)

    assert [take(tables).id for _ in jobs] == jobs


def test_owners_take_turns_however_many_jobs_each_has(tables, clock):
    for owner in ["batch"] * 6 + ["planner"] * 2:
        new_job(tables, owned_by=owner)
        clock.advance(1.0)
    took = [take(tables).owned_by for _ in range(6)]

    assert took == ["batch", "planner", "batch", "planner", "batch", "batch"]


def test_who_comes_late_waits_for_one_turn(tables, clock):
    for _ in range(5):
        new_job(tables, owned_by="batch")
        clock.advance(1.0)
    take(tables)
    take(tables)
    late = new_job(tables, owned_by="planner")

    assert take(tables).id == late.id


def test_an_urgent_job_comes_first_and_costs_a_turn(tables, clock):
    for owner in ("a", "b"):
        new_job(tables, owned_by=owner)
        clock.advance(1.0)
    urgent = new_job(tables, owned_by="a", priority=Priority.URGENT)
    took = [take(tables) for _ in range(3)]

    assert took[0].id == urgent.id
    assert [job.owned_by for job in took] == ["a", "b", "a"]


def test_what_is_all_but_done_is_finished_first(tables, clock):
    first = registered(tables, clock)
    registered(tables, clock)
    finish(tables, tables.claims.claim_next(SEGMENT, lease_seconds=30.0))
    again = tables.claims.claim_next(SEGMENT, lease_seconds=30.0)

    assert again is not None
    assert (again.job.id, again.stage) == (first, Stage.PACKAGE)


def test_finishing_a_job_is_no_turn(tables, clock):
    for owner in ("a", "a", "b"):
        registered(tables, clock, owner)
    finish(tables, tables.claims.claim_next(SEGMENT, lease_seconds=30.0))  # a's
    finish(tables, tables.claims.claim_next(SEGMENT, lease_seconds=30.0))  # its package

    assert take(tables, SEGMENT).owned_by == "b"


def test_a_job_that_was_put_off_waits_for_its_own_message(tables, clock):
    put_off = new_job(tables)
    tables.claims.release(take(tables), later=True)
    clock.advance(1.0)
    other = new_job(tables)

    assert take(tables).id == other.id
    assert tables.claims.claim_next(REGISTER, lease_seconds=30.0) is None
    again = tables.claims.claim_next(REGISTER, lease_seconds=30.0, named=put_off.id)
    assert again is not None
    assert (again.job.id, again.job.put_off) == (put_off.id, False)


def test_a_job_that_was_given_back_is_taken_at_once(tables):
    job = new_job(tables)
    tables.claims.release(take(tables), counted=False)

    assert take(tables).id == job.id


class TestModels:
    """A loaded model is kept for some jobs, and nobody waits for ever for it."""

    def jobs(self, tables, clock, models: str) -> list[str]:
        return [
            registered(
                tables,
                clock,
                owner=f"owner-of-{model}",
                options=JobOptions(model=model),
            )
            for model in models.split()
        ]

    def wish(self, *loaded: str, passes: int = 2) -> Wish:
        return Wish((Stage.SEGMENT,), frozenset(loaded), passes)

    def test_a_job_of_the_loaded_model_goes_before(self, tables, clock):
        self.jobs(tables, clock, "fine fine coarse coarse")

        assert take(tables, self.wish("coarse")).model_name == "coarse"

    def test_a_job_is_passed_over_so_often_and_no_oftener(self, tables, clock):
        self.jobs(tables, clock, "fine coarse coarse coarse coarse")
        took = [take(tables, self.wish("coarse")).model_name for _ in range(4)]

        assert took == ["coarse", "coarse", "fine", "coarse"]

    def test_without_jobs_of_the_loaded_model_nothing_is_passed_over(
        self, tables, clock
    ):
        [job_id] = self.jobs(tables, clock, "fine")

        assert take(tables, self.wish("coarse")).id == job_id
        assert tables.jobs.get(job_id).passed_over == 0

    def test_an_urgent_job_waits_for_no_model(self, tables, clock):
        self.jobs(tables, clock, "coarse coarse")
        urgent = registered(
            tables,
            clock,
            options=JobOptions(model="fine"),
            priority=Priority.URGENT,
        )

        assert take(tables, self.wish("coarse")).id == urgent

    def test_two_workers_part_the_models_between_them(self, tables, clock):
        self.jobs(tables, clock, "fine coarse " * 4)
        loads, loaded = 0, ["coarse", "fine"]
        for _ in range(4):
            for worker in (0, 1):
                job = take(tables, self.wish(loaded[worker], passes=4))
                loads += job.model_name != loaded[worker]
                loaded[worker] = job.model_name or ""

        assert loads == 0


class TestLimits:
    """So many stages of an owner are at work at a time, and no more."""

    def test_an_owner_at_the_limit_gets_nothing_until_a_stage_ends(self, tables):
        for _ in range(3):
            new_job(tables, owned_by="a")
        wish = Wish((Stage.REGISTER,), most_running=2)
        first = tables.claims.claim_next(wish, lease_seconds=30.0)
        tables.claims.claim_next(wish, lease_seconds=30.0)

        assert tables.claims.claim_next(wish, lease_seconds=30.0) is None
        finish(tables, first)
        assert tables.claims.claim_next(wish, lease_seconds=30.0) is not None

    def test_another_owner_goes_on(self, tables, clock):
        for owner in ("a", "a", "b"):
            new_job(tables, owned_by=owner)
            clock.advance(1.0)
        wish = Wish((Stage.REGISTER,), most_running=1)

        assert [take(tables, wish).owned_by for _ in range(2)] == ["a", "b"]
        assert tables.claims.claim_next(wish, lease_seconds=30.0) is None

    @pytest.mark.parametrize(("of_key", "taken"), [(1, 1), (3, 3)])
    def test_a_key_says_otherwise_for_its_owner(self, tables, of_key, taken):
        scopes = frozenset({Scope.SUBMIT})
        tables.api_keys.create("a", scopes, max_running=of_key)
        for _ in range(4):
            new_job(tables, owned_by="a")
        wish = Wish((Stage.REGISTER,), most_running=2)
        claims = [tables.claims.claim_next(wish, lease_seconds=30.0) for _ in range(4)]

        assert sum(claim is not None for claim in claims) == taken

    def test_a_revoked_key_says_nothing(self, tables):
        key = tables.api_keys.create("a", frozenset({Scope.SUBMIT}), max_running=1)
        tables.api_keys.revoke(key.id)

        assert tables.turns.free_places(["a"], None) == {}


def test_a_row_that_cannot_be_read_is_put_aside_and_the_next_is_taken(tables, clock):
    broken = new_job(tables)
    clock.advance(1.0)
    sound = new_job(tables)
    with tables.database.write() as connection:
        connection.exec_driver_sql(
            f"UPDATE jobs SET inputs = '[1]' WHERE id = '{broken.id}'"
        )

    assert take(tables).id == sound.id


def test_a_batch_of_thousands_keeps_nobody_waiting(tables, clock):
    """Two workers, three owners, one of whom has a thousand jobs: a simulation."""
    for _ in range(300):
        new_job(tables, owned_by="batch")
    waits, asked, due = Counter[str](), {}, dict.fromkeys(("planner", "night"), 0)
    for turn in range(120):
        clock.advance(1.0)
        for owner in due:  # a planner sends a case every now and then
            if turn % (7 if owner == "planner" else 11) == 0:
                asked[new_job(tables, owned_by=owner).id] = turn
        job = take(tables)
        finish(tables, Claimed(job, Stage.REGISTER))
        if job.id in asked:
            waits[job.owned_by] = max(waits[job.owned_by], turn - asked[job.id])

    assert set(waits) == set(due)
    assert max(waits.values()) <= len(due), "stages that anybody but the batch waited"
