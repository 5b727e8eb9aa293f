/** The viewer: a case's images with its contours, and the review of them. */

import { effect, useSignal } from "@preact/signals";
import { useEffect, useMemo } from "preact/hooks";
import { sentenceOf } from "../core/http";
import { guardLeaving, Link } from "../core/router";
import type { RouteProps } from "../core/routes";
import { noteEnd } from "../core/session";
import { STATES } from "../core/words";
import { Question } from "../parts/dialog";
import "../style/viewer.css";
import "../style/findings.css";
import { CaseCanvas } from "./canvas";
import { correctSelected, type Desk, obey, zoomBy } from "./commands";
import { CorrectionBar } from "./correction/bar";
import { Correction } from "./correction/correction";
import { Display } from "./display";
import { Help } from "./help";
import { commandOf } from "./keys";
import { OrganList } from "./organs";
import { RegistrationPanel, SignaturePanel } from "./review";
import { Ruler } from "./ruler";
import type { Scene } from "./scene";
import { CaseStore } from "./store";
import { Tools } from "./tools";

/** What `/jobs/{id}/view` shows. */
export default function ViewerPage({ id = "" }: RouteProps) {
  const store = useMemo(() => new CaseStore(id), [id]);
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    store.load().catch((error: unknown) => {
      noteEnd(error);
      failure.value = sentenceOf(error);
    });
  }, [id]);
  if (failure.value !== null) return <Nothing why={failure.value} />;
  const job = store.job.value;
  if (!job) return <p class="loading">Loading…</p>;
  if (job.state !== "succeeded") {
    return <Nothing why={`This case has no contours: ${STATES[job.state]}.`} />;
  }
  return <Case key={id} store={store} />;
}

function Nothing({ why }: { why: string }) {
  return (
    <section class="empty">
      <h1>Nothing to look at</h1>
      <p>{why}</p>
      <p>
        <Link to="/">Back to the worklist</Link>
      </p>
    </section>
  );
}

function Case({ store }: { store: CaseStore }) {
  const desk = useMemo(() => makeDesk(store), []);
  const shown = useSignal<Scene | null>(null);
  const help = useSignal(false);
  const { display, correction, ruler } = desk;
  const job = store.job.value;
  const name = job?.case ?? `Case ${store.id.slice(0, 8)}`;
  useEffect(() => {
    const before = document.title;
    document.title = `${name} – Contouring`;
    function press(event: KeyboardEvent): void {
      const command = commandOf(event, correction.row.value !== null);
      if (!command) return;
      event.preventDefault();
      if (command === "help") help.value = !help.value;
      else obey(command, desk);
    }
    addEventListener("keydown", press);
    return () => {
      removeEventListener("keydown", press);
      document.title = before;
    };
  }, []);
  return (
    <div class="viewer">
      <div class="viewing">
        <Tools
          display={display}
          ruler={ruler}
          hasMr={(job?.mr_verdict ?? "absent") !== "absent"}
          onZoom={(factor) => zoomBy(desk, factor)}
          onSlice={(slices) => desk.scene?.step(slices, display.plane.value)}
          onHelp={() => {
            help.value = true;
          }}
        />
        <CorrectionBar correction={correction} display={display} />
        <CaseCanvas
          desk={desk}
          onScene={(found) => {
            desk.scene = found;
            shown.value = found;
            (window as { hansegScene?: Scene | null }).hansegScene = found;
          }}
        />
      </div>
      <aside class="side" aria-label="Findings and review">
        <header class="case-head">
          <h1>{name}</h1>
          <p class="soft small">
            {job?.model && `Model ${job.model.name} ${job.model.version}`}
          </p>
          {job?.remarks.map((remark) => (
            <p key={remark} class="small flag">
              {remark}
            </p>
          ))}
        </header>
        <RegistrationPanel store={store} />
        <OrganList
          store={store}
          onCorrect={shown.value && (() => correctSelected(desk))}
        />
        <SignaturePanel store={store} />
      </aside>
      <LeavingQuestion correction={correction} />
      {help.value && (
        <Help
          onClose={() => {
            help.value = false;
          }}
        />
      )}
    </div>
  );
}

function makeDesk(store: CaseStore): Desk {
  const display = new Display();
  const correction = new Correction(store);
  return { store, display, correction, ruler: new Ruler(), scene: null };
}

/** Asks before what was painted, and is not saved, goes with the page. */
function LeavingQuestion({ correction }: { correction: Correction }) {
  const leave = useSignal<(() => void) | null>(null);
  useEffect(() => {
    const stop = effect(() => {
      const unsaved = correction.changed.value;
      guardLeaving(
        unsaved
          ? (go) => {
              leave.value = go;
            }
          : null,
      );
    });
    return () => {
      stop();
      guardLeaving(null);
    };
  }, []);
  const go = leave.value;
  if (!go) return null;
  return (
    <Question
      title={`Leave without saving ${correction.row.value?.name ?? "the correction"}?`}
      answer="Leave"
      onNo={() => {
        leave.value = null;
      }}
      onYes={() => {
        leave.value = null;
        correction.cancel();
        go();
      }}
    >
      What was painted is not saved yet, and is lost with the page.
    </Question>
  );
}
