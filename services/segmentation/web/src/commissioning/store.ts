/** The sheets that the service keeps, the newest first. */

import { computed, signal } from "@preact/signals";
import { fetchJson, sentenceOf } from "../core/http";
import { noteEnd } from "../core/session";
import type { Commissioning } from "./sheet";

export const sheets = signal<Commissioning[] | null>(null);
export const failure = signal<string | null>(null);
/** The sheet that is looked at, by its hash; empty for the newest. */
export const chosen = signal("");

export const shown = computed(() => {
  const found = sheets.value?.find((each) => each.sha256 === chosen.value);
  return found ?? sheets.value?.[0];
});

/** Read all sheets. */
export async function load(): Promise<void> {
  try {
    sheets.value = await list("");
    failure.value = null;
  } catch (error) {
    noteEnd(error);
    failure.value = sentenceOf(error);
  }
}

/** Read the newest sheet alone; undefined if there is none. */
export async function loadLast(): Promise<Commissioning | undefined> {
  return (await list("?limit=1"))[0];
}

async function list(query: string): Promise<Commissioning[]> {
  const path = `v1/commissioning${query}`;
  return (await fetchJson<{ sheets: Commissioning[] }>(path)).sheets;
}
