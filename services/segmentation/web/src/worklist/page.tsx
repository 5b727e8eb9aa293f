/** The worklist: all jobs the caller may see, newest first, and where cases are sent. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { CommissioningWarning } from "../commissioning/warning";
import { may } from "../core/session";
import "../style/worklist.css";
import { BatchStrip } from "./batches";
import { droppedFiles, hasFiles } from "./dropped";
import { FilterBar } from "./filters";
import { SendDialog } from "./send";
import {
  failure,
  filters,
  follow,
  isNarrowed,
  lines,
  live,
  loadMore,
  NO_FILTERS,
  nextCursor,
  setFilters,
} from "./store";
import { JobTable } from "./table";

/** What `/` shows. */
export default function WorklistPage() {
  const sending = useSignal<File[] | null>(null);
  const over = useSignal(false);
  useEffect(follow, []);
  const send = may("submit");

  async function drop(event: DragEvent): Promise<void> {
    over.value = false;
    if (!send || !event.dataTransfer) return;
    event.preventDefault();
    const files = await droppedFiles(event.dataTransfer);
    if (files.length) sending.value = [...(sending.value ?? []), ...files];
  }

  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the button does the same
    <section
      class={over.value ? "worklist over" : "worklist"}
      onDragOver={(event) => {
        if (!send || !hasFiles(event.dataTransfer)) return;
        event.preventDefault();
        over.value = true;
      }}
      onDragLeave={(event) => {
        if (event.currentTarget === event.target) over.value = false;
      }}
      onDrop={drop}
    >
      <Heading
        onSend={(files) => {
          sending.value = files;
        }}
      />
      <CommissioningWarning />
      <FilterBar />
      <BatchStrip />
      <List />
      {sending.value !== null && (
        <SendDialog
          files={sending.value}
          onClose={() => {
            sending.value = null;
          }}
        />
      )}
      {over.value && <div class="drop-here">Drop a case here</div>}
    </section>
  );
}

function Heading(props: { onSend: (files: File[]) => void }) {
  return (
    <div class="heading">
      <h1>Worklist</h1>
      <span class={live.value ? "live on" : "live"}>
        {live.value ? "Live" : "Connecting…"}
      </span>
      <span class="spread" />
      {may("submit") && (
        <button type="button" class="primary" onClick={() => props.onSend([])}>
          Send a case
        </button>
      )}
    </div>
  );
}

function List() {
  const shown = lines.value;
  if (failure.value !== null) {
    return (
      <p class="fault panel" role="alert">
        {failure.value}
      </p>
    );
  }
  if (shown === null) return <p class="loading">Loading the worklist…</p>;
  if (shown.length === 0) return <Nothing />;
  return (
    <>
      <JobTable lines={shown} />
      <More />
    </>
  );
}

function Nothing() {
  if (isNarrowed(filters.value)) {
    return (
      <div class="empty">
        <h2>No case fits these filters</h2>
        <p>Widen the search, or look at everything.</p>
        <button type="button" onClick={() => setFilters(NO_FILTERS)}>
          Show all cases
        </button>
      </div>
    );
  }
  return (
    <div class="empty">
      <h2>No cases yet</h2>
      <p>
        Drop a planning CT here, with its T1 MR if there is one: NIfTI, NRRD, MHA, a
        folder of DICOM files or a zip of one. Cases that come from Orthanc or by the
        API appear here too.
      </p>
    </div>
  );
}

function More() {
  const busy = useSignal(false);
  const button = useRef<HTMLButtonElement>(null);
  if (nextCursor.value === null) return null;
  async function more(): Promise<void> {
    busy.value = true;
    await loadMore();
    busy.value = false;
  }
  return (
    <p class="more">
      <button type="button" ref={button} disabled={busy.value} onClick={more}>
        {busy.value ? "Loading…" : "Show older cases"}
      </button>
    </p>
  );
}
