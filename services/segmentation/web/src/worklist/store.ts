/** The lines that are shown: read by pages, kept up to date by the service's events. */

import { signal } from "@preact/signals";
import { address, fetchJson, sentenceOf } from "../core/http";
import { noteEnd } from "../core/session";
import type { Batch, Line, LinePage } from "../core/types";

/** What the list is narrowed to; empty strings narrow nothing. */
export interface Filters {
  search: string;
  state: string;
  verdict: string;
  flag: string;
  model: string;
  review: string;
  batch: string;
}

export const NO_FILTERS: Filters = {
  search: "",
  state: "",
  verdict: "",
  flag: "",
  model: "",
  review: "",
  batch: "",
};

const RUNNING = ["queued", "registering", "segmenting", "packaging"];
const PAGE = 100;
const MOST_BATCHES = 6;

export const filters = signal<Filters>(NO_FILTERS);
export const lines = signal<Line[] | null>(null);
export const nextCursor = signal<string | null>(null);
export const batches = signal<Batch[]>([]);
export const failure = signal<string | null>(null);
export const live = signal(false);

/** When a line came, for the seconds that have passed since. */
const cameAt = new Map<string, number>();
let asked = 0;

/** Whether the list is narrowed. */
export function isNarrowed(wanted: Filters): boolean {
  return Object.values(wanted).some(Boolean);
}

/** The query of a page of lines. */
export function queryOf(wanted: Filters, cursor?: string | null): string {
  const query = new URLSearchParams({ limit: String(PAGE) });
  for (const [name, value] of Object.entries(wanted)) {
    if (!value) continue;
    const values = name === "state" && value === "running" ? RUNNING : [value];
    for (const each of values) query.append(name, each);
  }
  if (cursor) query.set("cursor", cursor);
  return `v1/worklist?${query}`;
}

/** Read the first page anew. */
export async function reload(): Promise<void> {
  asked += 1;
  const mine = asked;
  try {
    const page = await fetchJson<LinePage>(queryOf(filters.value));
    if (mine !== asked) return;
    keep(page.jobs);
    lines.value = page.jobs;
    nextCursor.value = cursorOf(page.next);
    failure.value = null;
    await reloadBatches();
  } catch (error) {
    noteEnd(error);
    if (mine === asked) failure.value = sentenceOf(error);
  }
}

/** Read the page after the last line. */
export async function loadMore(): Promise<void> {
  const cursor = nextCursor.value;
  if (cursor === null) return;
  try {
    const page = await fetchJson<LinePage>(queryOf(filters.value, cursor));
    const known = new Set((lines.value ?? []).map((each) => each.id));
    keep(page.jobs);
    const others = page.jobs.filter((each) => !known.has(each.id));
    lines.value = [...(lines.value ?? []), ...others];
    nextCursor.value = cursorOf(page.next);
  } catch (error) {
    noteEnd(error);
    failure.value = sentenceOf(error);
  }
}

/** Narrow the list. */
export function setFilters(changed: Partial<Filters>): void {
  filters.value = { ...filters.value, ...changed };
  void reload();
}

/** Follow the service's events until the returned function is called. */
export function follow(): () => void {
  const source = new EventSource(address("v1/worklist/events"));
  let pending: number | undefined;
  source.addEventListener("ready", () => {
    live.value = true;
    void reload();
  });
  source.addEventListener("line", (event) => {
    const line = JSON.parse((event as MessageEvent<string>).data) as Line;
    if (takeIn(line)) return;
    clearTimeout(pending);
    pending = window.setTimeout(() => void reload(), 300);
  });
  source.onerror = () => {
    live.value = false;
    if (source.readyState === EventSource.CLOSED) void reload();
  };
  return () => {
    clearTimeout(pending);
    source.close();
    live.value = false;
  };
}

/** Put a changed line in its place; false if the list must be read again for that. */
export function takeIn(line: Line): boolean {
  const shown = lines.value ?? [];
  const before = shown.find((each) => each.id === line.id);
  if (!before) return false;
  const mayLeave = before.state !== line.state || before.review !== line.review;
  if (mayLeave && isNarrowed(filters.value)) return false;
  keep([line]);
  lines.value = shown.map((each) => (each.id === line.id ? line : each));
  if (line.batch !== null && line.progress === null) void reloadBatches();
  return true;
}

/** The seconds that a job still takes, counted down since its line came. */
export function leftNow(line: Line, now: number): number | null {
  if (line.seconds_left === null) return null;
  const since = (now - (cameAt.get(line.id) ?? now)) / 1000;
  return Math.max(0, line.seconds_left - since);
}

function keep(found: Line[]): void {
  const now = Date.now();
  for (const line of found) cameAt.set(line.id, now);
}

function cursorOf(next: string | null): string | null {
  return next === null
    ? null
    : new URLSearchParams(next.split("?")[1] ?? "").get("cursor");
}

async function reloadBatches(): Promise<void> {
  const ids = new Set((lines.value ?? []).map((each) => each.batch).filter(Boolean));
  const first = [...ids].slice(0, MOST_BATCHES) as string[];
  const found = await Promise.allSettled(
    first.map((id) => fetchJson<Batch>(`v1/batches/${id}`)),
  );
  batches.value = found
    .filter((each) => each.status === "fulfilled")
    .map((each) => each.value);
}
