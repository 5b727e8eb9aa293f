"""What arrives in Orthanc: changes noted, studies looked at, cases found."""

from __future__ import annotations

import logging
from collections.abc import Callable

from hanseg_dicom.choice import Choice, Rules, choose
from hanseg_dicom.errors import (
    NotInOrthancError,
    OrthancFaultError,
    OrthancRefusedError,
)
from hanseg_dicom.ledger import Ledger
from hanseg_dicom.orthanc import Change, Orthanc
from hanseg_dicom.plan import Plan
from hanseg_dicom.records import NotedStudy
from hanseg_dicom.settings import BridgeSettings

logger = logging.getLogger(__name__)

FAULT_SECONDS = 600.0
"""When a study is looked at again at which Orthanc fails."""

OF_A_SERIES = frozenset({"NewSeries", "StableSeries"})
"""Changes that may make a study ready. Orthanc forgets to tell that a series is stable
when it is restarted meanwhile, so that its beginning is noted as well."""


class Watch:
    """Follows Orthanc's list of changes and makes cases of what arrives.

    Args:
        orthanc: Where to look.
        ledger: Where everything is remembered.
        settings: What is wanted.
        clock: Seconds since 1970.
    """

    def __init__(
        self,
        orthanc: Orthanc,
        ledger: Ledger,
        settings: BridgeSettings,
        clock: Callable[[], float],
    ) -> None:
        self._orthanc = orthanc
        self._ledger = ledger
        self._settings = settings
        self._clock = clock
        self._rules = Rules(
            minimal_slices=settings.minimal_slices,
            ct_description=settings.ct_description,
            mr_description=settings.mr_description,
            is_own=ledger.is_own,
        )

    def begin(self) -> None:
        """Begin with Orthanc as it is, the very first time.

        Without the setting `backlog`, what it has already is left alone.
        """
        if self._ledger.fact("since") is not None:
            return
        since = self._orthanc.last_change()
        studies = list(self._orthanc.studies())
        if self._settings.backlog:
            self._ledger.begin(0, [])
        else:
            self._ledger.begin(since, [(each.id, each.last_update) for each in studies])

    def compare(self) -> None:
        """Note every study that changed since it was looked at, whatever was told.

        For when changes may have been missed: at the start, and after Orthanc was away.
        """
        found = [(each.id, each.last_update) for each in self._orthanc.studies()]
        self._ledger.note_updated(found, now=self._clock())

    def follow(self) -> None:
        """Note the studies that Orthanc's new changes are about.

        The last known change is asked for again: if it is not there, Orthanc has
        another list of changes now, and everything is compared.
        """
        since, mark = int(self._ledger.fact("since") or 0), self._ledger.fact("mark")
        page = self._orthanc.changes(since - 1 if mark else since)
        new = page.changes
        if mark:
            known = new[:1]
            if [each.mark for each in known] != [mark]:
                self._start_over()
                return
            new = new[1:]
        self._note(new)
        while not page.done:
            page = self._orthanc.changes(page.last)
            self._note(page.changes)

    def look(self) -> None:
        """Look at the studies that were noted, and make cases of what is ready."""
        for noted in self._ledger.due_studies(self._clock()):
            try:
                last_update = self._orthanc.study(noted.id).last_update
                choice = choose(self._orthanc, noted.id, self._rules)
            except NotInOrthancError:
                self._forget(noted)
            except (OrthancFaultError, OrthancRefusedError) as error:
                # others must not have to wait for it
                logger.warning("a study cannot be looked at: %s", error.message)
                self._ledger.look_again(noted.id, self._clock() + FAULT_SECONDS)
            else:
                self._decide(noted, last_update, choice)

    def _start_over(self) -> None:
        logger.warning("Orthanc's list of changes is another one; comparing everything")
        since = self._orthanc.last_change()
        self.compare()
        self._ledger.note([], since=since, mark="", now=self._clock())

    def _note(self, changes: tuple[Change, ...]) -> None:
        if not changes:
            return
        studies = {}
        for change in changes:
            if change.kind in OF_A_SERIES:
                studies[change.resource] = self._study_of(change.resource)
        self._ledger.note(
            [study for study in studies.values() if study],
            since=changes[-1].seq,
            mark=changes[-1].mark,
            now=self._clock(),
        )

    def _study_of(self, series: str) -> str | None:
        try:
            return self._orthanc.study_of(series)
        except NotInOrthancError:  # deleted meanwhile
            return None

    def _forget(self, noted: NotedStudy) -> None:
        """Forget a study that is gone, or look again if only a part of it is."""
        try:
            self._orthanc.study(noted.id)
        except NotInOrthancError:
            self._ledger.forget(noted.id)
        else:
            self._look_again(noted)

    def _look_again(self, noted: NotedStudy) -> None:
        self._ledger.look_again(noted.id, self._clock() + self._settings.poll_seconds)

    def _decide(self, noted: NotedStudy, last_update: str, choice: Choice) -> None:
        if choice.arriving:
            self._look_again(noted)
        elif choice.plan is None:
            self._ledger.settle(noted.id, last_update)
        elif choice.plan.mr or self._has_waited(noted, choice.plan):
            self._find(noted, last_update, choice.plan)

    def _has_waited(self, noted: NotedStudy, plan: Plan) -> bool:
        """Whether a CT without MR has waited long enough; else it goes on waiting."""
        if self._ledger.has_case(plan.key):
            return True
        now = self._clock()
        since = noted.alone_since if noted.alone_key == plan.key else None
        if since is None:
            since = now
        due_at = since + self._settings.mr_wait_seconds
        if due_at > now:
            self._ledger.wait(noted.id, due_at, alone_key=plan.key, since=since)
        return due_at <= now

    def _find(self, noted: NotedStudy, last_update: str, plan: Plan) -> None:
        options = plan.options(self._settings.outputs, self._settings.template)
        now = self._clock()
        if self._ledger.find_case(noted.id, last_update, plan, options, now):
            case = self._ledger.case(plan.key)
            logger.info(
                "%s: a CT of %d instances, an MR of %d, %d registrations",
                case.name,
                len(plan.ct),
                len(plan.mr),
                len(plan.reg),
            )
