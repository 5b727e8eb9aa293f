/** A case that is open: its job, its organs, its review, and how they are shown. */

import { computed, signal } from "@preact/signals";
import { ApiError, fetchJson, send, sentenceOf } from "../core/http";
import { noteEnd } from "../core/session";
import { notify } from "../parts/notices";
import type { Job, Organ, OrganResult, OrganReview, Review } from "./types";

/** An organ of the list: what the catalogue, the job and the review say of it. */
export interface Row extends Organ, Omit<OrganResult, "name" | "label"> {
  said: OrganReview | undefined;
}

/** Says in words what a refusal means; null if it has no word for it. */
type Explain = (error: unknown, version: number) => Promise<string | null>;

const FILE = "application/octet-stream";
const JSON_TYPE = "application/json";
const CONTOURED = new Set(["contoured", "low_confidence"]);

/** Whether there is a contour to look at. */
export function isContoured(row: Pick<Row, "status" | "said">): boolean {
  return CONTOURED.has(row.status) || Boolean(row.said?.mask);
}

/** What the page knows of one job. */
export class CaseStore {
  readonly job = signal<Job | null>(null);
  readonly organs = signal<Organ[]>([]);
  readonly review = signal<Review | null>(null);
  readonly busy = signal(false);
  readonly selected = signal<number | null>(null);
  readonly hidden = signal<ReadonlySet<number>>(new Set());
  /** The organ that is being corrected by hand, until that is saved or given up. */
  readonly correcting = signal<number | null>(null);

  readonly rows = computed<Row[]>(() => {
    const results = new Map(this.job.value?.organs.map((each) => [each.label, each]));
    return this.organs.value.flatMap((organ) => {
      const result = results.get(organ.label);
      if (!result) return [];
      const said = this.review.value?.organs.find((each) => each.organ === organ.name);
      return [{ ...result, ...organ, said }];
    });
  });

  constructor(readonly id: string) {}

  /** The organ that is looked at. */
  get row(): Row | undefined {
    return this.rows.value.find((each) => each.label === this.selected.value);
  }

  /** Fetch all but the images. */
  async load(): Promise<void> {
    const [job, catalogue] = await Promise.all([
      fetchJson<Job>(`v1/jobs/${this.id}`),
      fetchJson<{ organs: Organ[] }>("v1/organs"),
    ]);
    this.organs.value = catalogue.organs;
    this.job.value = job;
    if (job.state === "succeeded") await this.loadReview();
  }

  /** Fetch the newest version of the review. */
  async loadReview(): Promise<void> {
    this.review.value = await fetchJson<Review>(`v1/jobs/${this.id}/review`);
  }

  /** Go to the contour after or before the selected one. */
  move(by: 1 | -1): void {
    const labels = this.rows.value.filter(isContoured).map((each) => each.label);
    if (labels.length === 0) return;
    const at = labels.indexOf(this.selected.value ?? -1);
    const next = at < 0 ? (by > 0 ? 0 : labels.length - 1) : at + by;
    this.selected.value = labels[(next + labels.length) % labels.length] ?? null;
  }

  /** Hide a contour, or show it again. */
  toggle(label: number): void {
    const hidden = new Set(this.hidden.value);
    if (!hidden.delete(label)) hidden.add(label);
    this.hidden.value = hidden;
  }

  /** Hide all contours; show all if any is hidden. */
  toggleAll(): void {
    const all = new Set(this.rows.value.map((each) => each.label));
    this.hidden.value = this.hidden.value.size > 0 ? new Set() : all;
  }

  /**
   * Change the review, from the version that is shown; false if it was refused.
   *
   * Where somebody else was faster nothing is changed, and theirs is shown.
   *
   * @param explain Says what a refusal means here; what it has no word for is told as
   *   always. The session does not end over what would be lost with the page.
   */
  async change(
    method: string,
    path: string,
    body: unknown,
    done = "",
    explain?: Explain,
  ): Promise<boolean> {
    const version = this.review.value?.version ?? 0;
    const isFile = body instanceof Blob;
    const type = isFile ? body.type || FILE : JSON_TYPE;
    this.busy.value = true;
    try {
      const response = await send(`v1/jobs/${this.id}/review/${path}`, {
        method,
        headers: {
          "If-Match": `"${version}"`,
          ...(body === null ? {} : { "Content-Type": type }),
        },
        body: isFile || body === null ? body : JSON.stringify(body),
      });
      this.review.value = (await response.json()) as Review;
      if (done) notify("done", done);
      return true;
    } catch (error) {
      if (!explain) noteEnd(error);
      await this.explain(error, explain);
      return false;
    } finally {
      this.busy.value = false;
    }
  }

  private async explain(error: unknown, explain: Explain | undefined): Promise<void> {
    const meanwhile = error instanceof ApiError && error.status === 412;
    if (meanwhile) await this.loadReview();
    const version = this.review.value?.version ?? 0;
    const said = await explain?.(error, version);
    notify("error", said ?? (meanwhile ? tellMeanwhile(version) : sentenceOf(error)));
  }
}

function tellMeanwhile(version: number): string {
  return (
    "Somebody else changed this review meanwhile, so nothing of yours was saved. " +
    `Version ${version} is shown now: look at it, and say it again.`
  );
}
