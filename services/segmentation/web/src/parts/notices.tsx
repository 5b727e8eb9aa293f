/** Short messages at the edge of the page; errors stay until they are put away. */

import { signal } from "@preact/signals";

type Kind = "done" | "error";

interface Notice {
  id: number;
  kind: Kind;
  text: string;
}

const SHOWN_MS = 6000;

const notices = signal<Notice[]>([]);
let last = 0;

/** Show a message. */
export function notify(kind: Kind, text: string): void {
  last += 1;
  const notice = { id: last, kind, text };
  const others = notices.value.filter((each) => each.text !== text);
  notices.value = [...others.slice(-3), notice];
  if (kind === "done") setTimeout(() => dismiss(notice.id), SHOWN_MS);
}

function dismiss(id: number): void {
  notices.value = notices.value.filter((each) => each.id !== id);
}

/** The messages that are shown now. */
export function Notices() {
  return (
    <div class="notices" role="status" aria-live="polite">
      {notices.value.map((each) => (
        <div key={each.id} class={`notice ${each.kind}`}>
          <span>{each.text}</span>
          <button
            type="button"
            class="quiet"
            aria-label="Put this message away"
            onClick={() => dismiss(each.id)}
          >
            ×
          </button>
        </div>
      ))}
    </div>
  );
}
