/** Batches whose jobs are shown: a bar each. */

import type { Batch } from "../core/types";
import { batches, filters, setFilters } from "./store";

/** A bar for each batch. */
export function BatchStrip() {
  if (batches.value.length === 0) return null;
  return (
    <ul class="batches" aria-label="Batches">
      {batches.value.map((batch) => (
        <li key={batch.id}>
          <BatchBar batch={batch} />
        </li>
      ))}
    </ul>
  );
}

function BatchBar({ batch }: { batch: Batch }) {
  const ended = batch.total - batch.unfinished;
  const failed = batch.counts.failed ?? 0;
  const name = batch.name ?? `Batch ${batch.id.slice(0, 8)}`;
  const chosen = filters.value.batch === batch.id;
  return (
    <button
      type="button"
      class="batch"
      aria-pressed={chosen}
      onClick={() => setFilters({ batch: chosen ? "" : batch.id })}
    >
      <span class="batch-name">{name}</span>
      <span class="soft">
        {ended} of {batch.total} done{failed > 0 ? `, ${failed} failed` : ""}
      </span>
      <progress
        max={Math.max(1, batch.total)}
        value={ended}
        aria-label={`${name}: ${ended} of ${batch.total} done`}
      />
    </button>
  );
}
