/** What is asked of the statistics, and the answer. */

import { signal } from "@preact/signals";
import { fittingInterval, type Interval } from "../charts/words";
import { fetchJson, sentenceOf } from "../core/http";
import { noteEnd } from "../core/session";
import type { Statistics } from "./statistics";

/** What narrows the statistics; empty is no condition, or for a period what fits. */
export interface Choice {
  model: string;
  since: string;
  until: string;
  interval: Interval | "";
}

export const EVERYTHING: Choice = { model: "", since: "", until: "", interval: "" };

export const choice = signal<Choice>(EVERYTHING);
export const statistics = signal<Statistics | null>(null);
export const failure = signal<string | null>(null);
/** The organ of which the courses are shown. */
export const organ = signal("Brainstem");

let asked = 0;

/** Return what is asked as the query of an address. */
export function queryOf(asked: Choice, interval: Interval): string {
  const query = new URLSearchParams({ interval });
  if (asked.model) query.set("model", asked.model);
  if (asked.since) query.set("since", asked.since);
  if (asked.until) query.set("until", asked.until);
  return query.toString();
}

/** Whether something is left out. */
export function isNarrowed({ model, since, until }: Choice): boolean {
  return Boolean(model || since || until);
}

/** Choose something else, and ask again. */
export function choose(changed: Partial<Choice>): void {
  choice.value = { ...choice.value, ...changed };
  void load();
}

/** Ask for the statistics; the answer to an older question is dropped. */
export async function load(): Promise<void> {
  asked += 1;
  const mine = asked;
  try {
    const found = await ask(choice.value);
    if (mine !== asked) return;
    statistics.value = found;
    failure.value = null;
  } catch (error) {
    if (mine !== asked) return;
    noteEnd(error);
    failure.value = sentenceOf(error);
  }
}

async function ask(wanted: Choice): Promise<Statistics> {
  const first = wanted.interval || "month";
  const found = await get(wanted, first);
  if (wanted.interval) return found;
  const fitting = fittingInterval(found.first_day, found.last_day);
  return fitting === first ? found : get(wanted, fitting);
}

function get(wanted: Choice, interval: Interval): Promise<Statistics> {
  return fetchJson<Statistics>(`v1/statistics?${queryOf(wanted, interval)}`);
}
