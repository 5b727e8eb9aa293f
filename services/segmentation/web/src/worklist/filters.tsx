/** What narrows the list: a search, and a choice for each thing that a line shows. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { fetchJson } from "../core/http";
import type { Model } from "../core/types";
import { REVIEWS } from "../core/words";
import { FLAGS } from "./flags";
import { type Filters, filters, isNarrowed, NO_FILTERS, setFilters } from "./store";

const PAUSE_MS = 250;

type Choice = [value: string, label: string];

const STATES: Choice[] = [
  ["running", "Running"],
  ["succeeded", "Done"],
  ["failed", "Failed"],
  ["cancelled", "Cancelled"],
  ["expired", "Deleted"],
];

const VERDICTS: Choice[] = [
  ["used", "MR used"],
  ["rejected", "MR rejected"],
  ["absent", "No MR"],
];

/** The bar of filters. */
export function FilterBar() {
  const models = useSignal<Choice[]>([]);
  useEffect(() => {
    fetchJson<{ models: Model[] }>("v1/models").then(
      (found) => {
        models.value = found.models.map(({ name }) => [name, name]);
      },
      () => undefined, // then there is nothing to choose
    );
  }, []);
  return (
    <search class="filters">
      <SearchField />
      <Select name="state" label="State" choices={STATES} />
      <Select name="verdict" label="MR" choices={VERDICTS} />
      <Select name="flag" label="Flag" choices={FLAGS} />
      <Select name="review" label="Review" choices={Object.entries(REVIEWS)} />
      <Select name="model" label="Model" choices={models.value} />
      {isNarrowed(filters.value) && (
        <button type="button" class="quiet" onClick={() => setFilters(NO_FILTERS)}>
          Show all
        </button>
      )}
    </search>
  );
}

function SearchField() {
  const field = useRef<HTMLInputElement>(null);
  const timer = useRef<number | undefined>(undefined);
  useEffect(() => {
    function onKey(event: KeyboardEvent): void {
      const typing = (event.target as HTMLElement).matches("input, select, textarea");
      if (event.key !== "/" || typing || document.querySelector("dialog")) return;
      event.preventDefault();
      field.current?.focus();
    }
    addEventListener("keydown", onKey);
    return () => removeEventListener("keydown", onKey);
  }, []);
  return (
    <input
      ref={field}
      type="search"
      placeholder="Search cases  ( / )"
      aria-label="Search cases by name"
      maxLength={128}
      value={filters.value.search}
      onInput={(event) => {
        const search = event.currentTarget.value.trim();
        clearTimeout(timer.current);
        timer.current = window.setTimeout(() => setFilters({ search }), PAUSE_MS);
      }}
    />
  );
}

function Select(props: { name: keyof Filters; label: string; choices: Choice[] }) {
  const value = filters.value[props.name];
  return (
    <select
      class={value ? "chosen" : undefined}
      aria-label={`${props.label}: show only`}
      value={value}
      onChange={(event) => setFilters({ [props.name]: event.currentTarget.value })}
    >
      <option value="">{props.label}: all</option>
      {props.choices.map(([code, label]) => (
        <option key={code} value={code}>
          {label}
        </option>
      ))}
    </select>
  );
}
