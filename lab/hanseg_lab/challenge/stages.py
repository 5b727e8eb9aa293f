"""The steps of a challenge, each made of commands of the product.

data -> register -> train METHOD -> batch METHOD -> evaluate METHOD -> rank -> report;
for what the MR buys: data -> inputs -> mr METHOD -> report; and for real patients:
real-data, real-train METHOD -> real METHOD -> report.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

from hanseg_lab.challenge.commands import HANSEG, ONE_THREAD, OWN, Runner
from hanseg_lab.challenge.files import copy_folder, write_atomically
from hanseg_lab.challenge.ledger import Step, Taken
from hanseg_lab.challenge.methods import Method
from hanseg_lab.challenge.mr_inputs import CT_ALONE, MR_INPUTS, MrInput
from hanseg_lab.challenge.places import (
    ALL,
    AROUND_SHARES,
    PREDICTIONS,
    SCORES,
    TEAMS,
    TESTING,
    TRAINING,
    Places,
    around,
    cases_in,
)
from hanseg_lab.challenge.real_patients import (
    LABELS,
    SHIPPED,
    lay_out_learnt,
    lay_out_scored,
)
from hanseg_lab.challenge.scale import (
    real_methods,
    registration_here,
    registration_name,
    scale_for_real_patients,
    scale_recipe,
    tried_with_mrs,
)
from hanseg_lab.challenge.settings import ChallengeSettings
from hanseg_lab.evaluation.evaluation import RESULTS
from hanseg_lab.phantom.folder import SET_FOLDER
from hanseg_lab.phantom.phantom_case import case_name
from hanseg_lab.training.recipe import Recipe, RegistrationRecipe
from hanseg_lab.training.run import has_begun
from hanseg_segmentation.packages.installed import DEFAULT_MODEL
from hanseg_shared.result_files import REPORT


@dataclass(frozen=True, slots=True)
class Stages:
    """Makes the steps of a challenge.

    Attributes:
        places: Where they work.
        settings: What is done.
        run: Runs commands.
        write_report: Writes the page and its pictures.
    """

    places: Places
    settings: ChallengeSettings
    run: Runner
    write_report: Callable[[], None]

    def steps(self) -> tuple[Step, ...]:
        """Return all steps, each after those that it needs."""
        settings, methods = self.settings, self.settings.chosen
        trained = [method for method in methods if method.is_trained]
        # a method of several networks takes longest, and is begun first
        by_length = sorted(trained, key=lambda m: -scale_recipe(m, settings).folds)
        return (
            *(self._data(part) for part in (TRAINING, TESTING)),
            *self._registrations(trained),
            *(self._mr_input(given) for given in self._inputs(trained)),
            *(self._train(method) for method in by_length),
            *(self._contour(method) for method in methods),
            *(self._evaluate(method) for method in methods),
            self._rank(),
            *self._mr_trials(),
            *self._real(),
            self._report(),
        )

    def _data(self, part: str) -> Step:
        settings = self.settings
        teaches = part == TRAINING
        seeds = settings.training_seeds if teaches else settings.test_seeds
        undrawn = settings.undrawn_share if teaches else 0.0
        folder = self.places.data(part)

        def work() -> Taken:
            there = cases_in(folder)
            return sum(
                (
                    self._hanseg(
                        ("data", part),
                        ["phantom", "--count", 1, "--first-seed", seed],
                        ["--spacing", settings.ct_spacing_mm, "--undrawn", undrawn],
                        [word for each in around(seed) for word in ("--around", each)],
                        ["--out", folder],
                    )
                    for seed in seeds
                    if case_name(seed) not in there
                ),
                Taken(),
            )

        made_from = {
            "seeds": [seeds.start, seeds.stop],
            "ct_spacing_mm": settings.ct_spacing_mm,
            "undrawn_share": undrawn,
            "around": AROUND_SHARES,
        }
        return Step("data", part, folder, work, made_from, one_thread=True)

    def _registrations(self, trained: Sequence[Method]) -> list[Step]:
        found = {}
        for method in trained:
            registration = registration_here(method, self.settings)
            if registration is not None:
                found[registration_name(registration)] = self._register(registration)
        return list(found.values())

    def _register(self, registration: RegistrationRecipe) -> Step:
        kind = registration_name(registration)
        folder, cases = self.places.registered(kind), self.places.data(TRAINING)
        names = [case_name(seed) for seed in self.settings.training_seeds]

        def work() -> Taken:
            images = [
                (name, cases / SET_FOLDER / name / f"{name}_IMG_") for name in names
            ]
            return sum(
                (
                    self._hanseg(
                        ("register", kind),
                        ["register", f"{start}CT.nrrd", f"{start}MR_T1.nrrd"],
                        ["--out", folder / name, *_options(registration)],
                    )
                    for name, start in images
                    if not (folder / name / REPORT).exists()
                ),
                Taken(),
            )

        return Step(
            "register",
            kind,
            folder,
            work,
            {"options": _options(registration)},
            (f"data {TRAINING}",),
            one_thread=True,
        )

    def _train(self, method: Method) -> Step:
        recipe, data = scale_recipe(method, self.settings), self.places.data(TRAINING)
        registration = registration_here(method, self.settings)
        registered: list[object] = []
        needs: tuple[str, ...] = (f"data {TRAINING}",)
        if registration is not None:
            kind = registration_name(registration)
            registered = ["--registered", self.places.registered(kind)]
            needs = (*needs, f"register {kind}")
        folder = self.places.training(method)
        return self._training(
            "train", method, recipe, folder, data, registered=registered, needs=needs
        )

    def _training(
        self,
        stage: str,
        method: Method,
        recipe: Recipe,
        folder: Path,
        data: Path,
        *,
        registered: Sequence[object] = (),
        needs: tuple[str, ...] = (),
    ) -> Step:
        """Return the step that trains a recipe and installs its model."""
        content = recipe.model_dump_json(indent=2, exclude_defaults=True) + "\n"

        def work() -> Taken:
            file = folder / "recipe.json"
            write_atomically(file, content)
            taken = self._hanseg(
                (stage, method.name),
                ["train", file, "--data", data],
                registered,
                ["--name", recipe.name, "--version", "1", "--out", folder],
                ["--cache", self.places.samples],
                ["--resume"] if has_begun(recipe, folder) else [],
            )
            copy_folder(folder / "model", self.places.models / recipe.name)
            return taken

        return Step(
            stage,
            method.name,
            folder,
            work,
            {"recipe": recipe.model_dump(mode="json")},
            needs,
            one_thread=True,
        )

    def _contour(self, method: Method) -> Step:
        work = self._batch if method.is_trained else self._copy
        needs = [f"data {TESTING}"]
        registration = registration_here(method, self.settings)
        if not method.is_trained:
            needs.append(f"data {TRAINING}")
        else:
            needs.append(f"train {method.name}")
            if registration is None:
                needs.append(f"inputs {CT_ALONE.slug}")
        return Step(
            "batch",
            method.name,
            self.places.predictions(method),
            partial(work, method),
            {"options": _options(registration)} if method.is_trained else {},
            tuple(needs),
            one_thread=True,
        )

    def _batch(self, method: Method) -> Taken:
        return self._hanseg(
            ("batch", method.name),
            ["batch", self._cases_for(method), "--model", method.model],
            ["--out", self.places.predictions(method)],
            _options(registration_here(method, self.settings)),
            environment=self._with_models,
        )

    def _cases_for(self, method: Method) -> Path:
        """Return the test cases as a method gets them: without MR if it has no use."""
        if registration_here(method, self.settings) is None:
            return self.places.cases_with(CT_ALONE)
        return self.places.data(TESTING)

    @property
    def _with_models(self) -> dict[str, str]:
        return {"HANSEG_MODELS": str(self.places.models)}

    def _copy(self, method: Method) -> Taken:
        data = [self.places.data(part) for part in (TRAINING, TESTING)]
        words = [OWN, "copy", method.name, *data, "--out"]
        return self.run(
            [str(word) for word in (*words, self.places.predictions(method))],
            log=self.places.log("batch", method.name),
            environment=ONE_THREAD,
        )

    def _evaluate(self, method: Method) -> Step:
        folder = self.places.scores(method)
        # a job says what the numbers of its label map mean; a bare map does not
        labels = [] if method.is_trained else ["--labels", "han-seg"]

        def work() -> Taken:
            return self._hanseg(
                ("evaluate", method.name),
                ["evaluate", self.places.predictions(method), *labels],
                [self.places.data(TESTING), "--empty", "challenge", "--out", folder],
            )

        needs = (f"data {TESTING}", f"batch {method.name}")
        return Step("evaluate", method.name, folder, work, {}, needs, one_thread=True)

    def _rank(self) -> Step:
        methods = self.settings.chosen
        rankings = {ALL: methods, TEAMS: [m for m in methods if m.in_paper]}
        folder = self.places.ranking(ALL).parent

        def work() -> Taken:
            return sum(
                (
                    self._hanseg(
                        ("rank", which),
                        [
                            "rank",
                            *(self.places.scores(m) / RESULTS for m in them),
                        ],
                        ["--out", self.places.ranking(which), "--paper"],
                        one_thread=False,
                    )
                    for which, them in rankings.items()
                    if len(them) > 1
                ),
                Taken(),
            )

        needs = tuple(f"evaluate {method.name}" for method in methods)
        return Step("rank", "", folder, work, {}, needs)

    def _inputs(self, trained: Sequence[Method]) -> tuple[MrInput, ...]:
        """Return the inputs that are needed besides the test cases as they are."""
        if tried_with_mrs(self.settings):
            return MR_INPUTS
        uses_mr = [registration_here(m, self.settings) is not None for m in trained]
        return () if all(uses_mr) else (CT_ALONE,)

    def _mr_trials(self) -> list[Step]:
        methods = tried_with_mrs(self.settings)
        return [self._mr_trial(m, given) for m in methods for given in MR_INPUTS]

    def _mr_input(self, given: MrInput) -> Step:
        seeds, folder = self.settings.test_seeds, self.places.cases_with(given)

        def work() -> Taken:
            words = [OWN, "inputs", given.slug, self.places.data(TESTING)]
            words += ["--first-seed", seeds.start, "--count", len(seeds)]
            return self.run(
                [str(word) for word in (*words, "--out", folder)],
                log=self.places.log("inputs", given.slug),
                environment=ONE_THREAD,
            )

        made_from = {"off_mm": given.off_mm, "whose": given.whose}
        needs = (f"data {TESTING}",)
        return Step(
            "inputs", given.slug, folder, work, made_from, needs, one_thread=True
        )

    def _mr_trial(self, method: Method, given: MrInput) -> Step:
        folder = self.places.mr_trial(method, given)
        subject = f"{method.name} {given.slug}"
        options = _options(registration_here(method, self.settings))
        if given.registration is not None:
            options = ["--registration", given.registration.value]

        def work() -> Taken:
            found = folder / PREDICTIONS
            contoured = self._hanseg(
                ("mr", subject),
                ["batch", self.places.cases_with(given), "--model", method.model],
                ["--out", found, *options],
                environment=self._with_models,
            )
            return contoured + self._hanseg(
                ("mr", subject),
                ["evaluate", found, self.places.data(TESTING)],
                ["--empty", "challenge", "--out", folder / SCORES],
            )

        needs = (f"inputs {given.slug}", f"batch {method.name}")
        made_from = {"options": options}
        return Step("mr", subject, folder, work, made_from, needs, one_thread=True)

    def _real(self) -> list[Step]:
        methods = real_methods(self.settings)
        if not methods:
            return []
        return [
            self._real_data(),
            *(self._train_on_real(method) for method in methods),
            *(self._real_trial(m.name, m.model_on_real) for m in methods),
            self._real_trial(SHIPPED, DEFAULT_MODEL),
        ]

    def _real_data(self) -> Step:
        settings, places = self.settings, self.places

        def work() -> Taken:
            openkbp = Path(settings.openkbp)
            lay_out_learnt(
                openkbp, settings.real_training_cases, places.real_training_cases
            )
            lay_out_scored(
                openkbp, settings.real_cases, places.real_cases, places.real_references
            )
            return Taken()

        made_from = {
            "training_cases": settings.real_training_cases,
            "cases": settings.real_cases,
        }
        return Step("real-data", "", places.real_cases, work, made_from)

    def _train_on_real(self, method: Method) -> Step:
        recipe = scale_for_real_patients(method, self.settings)
        return self._training(
            "real-train",
            method,
            recipe,
            self.places.real_training(method),
            self.places.real_training_cases,
            needs=("real-data",),
        )

    def _real_trial(self, name: str, model: str) -> Step:
        """Return the step that contours and scores real patients with a model."""
        folder, subject = self.places.real(name), ("real", name)

        def work() -> Taken:
            contoured = self._hanseg(
                subject,
                ["batch", self.places.real_cases, "--model", model],
                ["--out", folder / PREDICTIONS],
                environment=self._with_models,
            )
            return contoured + self._hanseg(
                subject,
                ["evaluate", folder / PREDICTIONS, self.places.real_references],
                ["--labels", "han-seg", "--labels", LABELS],
                ["--empty", "challenge", "--out", folder / SCORES],
            )

        trained = () if model == DEFAULT_MODEL else (f"real-train {name}",)
        needs = ("real-data", *trained)
        return Step("real", name, folder, work, {}, needs, one_thread=True)

    def _report(self) -> Step:
        def work() -> Taken:
            self.write_report()
            return Taken()

        trials = [*self._mr_trials(), *self._real()]
        needs = ("rank", *(step.name for step in trials))
        return Step("report", "", self.places.report, work, {}, needs, always=True)

    def _hanseg(
        self,
        step: tuple[str, str],
        *words: Iterable[object],
        environment: dict[str, str] | None = None,
        one_thread: bool = True,
    ) -> Taken:
        threads = ONE_THREAD if one_thread else {}
        return self.run(
            [HANSEG, *(str(word) for part in words for word in part)],
            log=self.places.log(*step),
            environment=threads | (environment or {}),
        )


def _options(registration: RegistrationRecipe | None) -> list[str]:
    if registration is None:
        return []
    kind, backend = registration.kind.value, registration.backend.value
    return ["--registration", kind, "--backend", backend]
