/** What can be done with a job from its row. */

import { useSignal } from "@preact/signals";
import { send, sentenceOf } from "../core/http";
import { may, noteEnd, session } from "../core/session";
import { isFinal, type Line } from "../core/types";
import { Question } from "../parts/dialog";
import { notify } from "../parts/notices";
import { reload } from "./store";

type Doing = "cancel" | "retry" | "delete";

const DONE: Record<Doing, string> = {
  cancel: "is being cancelled.",
  retry: "was queued again.",
  delete: "was deleted.",
};

/** Cancel, retry and delete, as far as the job's state and the caller's key allow. */
export function RowActions({ line }: { line: Line }) {
  const asked = useSignal<Doing | null>(null);
  const busy = useSignal(false);
  const name = line.case ?? `Case ${line.id.slice(0, 8)}`;
  if (!mayChange(line)) return null;

  async function act(doing: Doing): Promise<void> {
    asked.value = null;
    busy.value = true;
    const path = `v1/jobs/${line.id}`;
    try {
      if (doing === "delete") await send(path, { method: "DELETE" });
      else await send(`${path}/${doing}`, { method: "POST" });
      notify("done", `${name} ${DONE[doing]}`);
      await reload();
    } catch (error) {
      noteEnd(error);
      notify("error", `${name}: ${sentenceOf(error)}`);
    }
    busy.value = false;
  }

  const again = line.state === "failed" || line.state === "cancelled";
  return (
    <>
      {!isFinal(line.state) && !line.cancelling && (
        <Action
          name={name}
          word="Cancel"
          busy={busy.value}
          onDo={() => ask("cancel")}
        />
      )}
      {again && (
        <Action name={name} word="Retry" busy={busy.value} onDo={() => act("retry")} />
      )}
      {isFinal(line.state) && line.state !== "expired" && (
        <Action
          name={name}
          word="Delete"
          busy={busy.value}
          onDo={() => ask("delete")}
        />
      )}
      {asked.value === "cancel" && (
        <Question
          title={`Cancel ${name}?`}
          answer="Cancel the case"
          onYes={() => act("cancel")}
          onNo={forget}
        >
          What was computed so far is lost. The case can be retried later.
        </Question>
      )}
      {asked.value === "delete" && (
        <Question
          title={`Delete ${name}?`}
          answer="Delete the case"
          onYes={() => act("delete")}
          onNo={forget}
        >
          Its images, contours and review are deleted from the service now, and cannot
          be brought back.
        </Question>
      )}
    </>
  );

  function ask(doing: Doing): void {
    asked.value = doing;
  }

  function forget(): void {
    asked.value = null;
  }
}

function mayChange(line: Line): boolean {
  const own = line.owner === null || line.owner === session.value?.owner;
  return may("submit") && (own || may("admin"));
}

function Action(props: {
  name: string;
  word: string;
  busy: boolean;
  onDo: () => void;
}) {
  return (
    <button
      type="button"
      class="quiet"
      disabled={props.busy}
      aria-label={`${props.word} ${props.name}`}
      onClick={props.onDo}
    >
      {props.word}
    </button>
  );
}
