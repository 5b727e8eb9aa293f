/** Judging organs and the registration, sending corrections, and signing. */

import { useSignal } from "@preact/signals";
import { useRef } from "preact/hooks";
import { Link } from "../core/router";
import { may, session } from "../core/session";
import { describeMoment } from "../core/words";
import { compare } from "./correction/correction";
import { Downloads } from "./downloads";
import { type CaseStore, isContoured, type Row } from "./store";
import type { OrganReview } from "./types";

/** Whether the caller may change this review now. */
export function canReview(store: CaseStore): boolean {
  return may("review") && store.review.value !== null && !store.review.value.signature;
}

/** Say something of the selected organ. */
export function judge(
  store: CaseStore,
  row: Row,
  verdict: "accepted" | "rejected" | null,
  reason = "",
): Promise<boolean> {
  const body = verdict === "rejected" ? { verdict, reason } : { verdict };
  return store.change("PUT", `organs/${row.name}`, body);
}

interface PanelProps {
  row: Row;
  store: CaseStore;
  /** Begins to correct the organ by hand; null without images. */
  onCorrect: (() => void) | null;
}

/** What was said of an organ, and what can be said. */
export function OrganReviewPanel({ row, store, onCorrect }: PanelProps) {
  const rejecting = useSignal(false);
  const correcting = store.correcting.value;
  const busy = store.busy.value;
  const editable = canReview(store) && correcting !== row.label;
  const isOnlyDrawn = row.volume_ml === 0; // the model's own cannot be judged
  return (
    <div class="judging">
      {row.said && <Said said={row.said} />}
      {editable && !rejecting.value && (
        <div class="buttons">
          <button
            type="button"
            disabled={busy || isOnlyDrawn || row.said?.verdict === "accepted"}
            onClick={async () => {
              if (await judge(store, row, "accepted")) store.move(1);
            }}
          >
            Accept
          </button>
          <button
            type="button"
            disabled={busy || isOnlyDrawn}
            data-reject={row.name}
            onClick={() => {
              rejecting.value = true;
            }}
          >
            Reject
          </button>
          {onCorrect && (
            <button
              type="button"
              disabled={busy || correcting !== null}
              aria-keyshortcuts="C"
              title="Paint, erase and fill on the planes (C)"
              onClick={onCorrect}
            >
              Correct
            </button>
          )}
          <Upload row={row} store={store} />
          {row.said && (
            <button
              type="button"
              class="quiet"
              disabled={busy}
              onClick={() => judge(store, row, null)}
            >
              Take back
            </button>
          )}
        </div>
      )}
      {editable && rejecting.value && (
        <Reason
          label={`Why is ${row.name} rejected?`}
          onCancel={() => {
            rejecting.value = false;
          }}
          onSend={async (reason) => {
            if (await judge(store, row, "rejected", reason)) rejecting.value = false;
          }}
          busy={busy}
        />
      )}
    </div>
  );
}

function Said({ said }: { said: OrganReview }) {
  const { comparison } = said;
  return (
    <div class="said small">
      <p>
        {said.verdict === "edited" ? "Corrected" : said.verdict} by {said.by},{" "}
        {describeMoment(said.at)}
        {said.reason && <>: “{said.reason}”</>}
      </p>
      {comparison && <p>{compare(comparison)}</p>}
    </div>
  );
}

function Upload({ row, store }: { row: Row; store: CaseStore }) {
  const field = useRef<HTMLInputElement>(null);
  async function sendFile(): Promise<void> {
    const file = field.current?.files?.[0];
    if (!file) return;
    await store.change(
      "POST",
      `corrections?organ=${encodeURIComponent(row.name)}`,
      file,
      "The corrected contours are kept beside the model's own.",
    );
    if (field.current) field.current.value = "";
  }
  return (
    <label class="button upload">
      Corrected file…
      <input
        ref={field}
        type="file"
        class="hidden"
        aria-label={`Corrected contour of ${row.name}`}
        disabled={store.busy.value}
        onChange={sendFile}
      />
    </label>
  );
}

function Reason(props: {
  label: string;
  busy: boolean;
  onCancel: () => void;
  onSend: (reason: string) => void;
}) {
  const text = useRef<HTMLTextAreaElement>(null);
  return (
    <form
      class="reason"
      onSubmit={(event) => {
        event.preventDefault();
        props.onSend(text.current?.value.trim() ?? "");
      }}
    >
      <label>
        {props.label}
        <textarea
          ref={(element) => {
            text.current = element;
            if (element && document.activeElement !== element) element.focus();
          }}
          rows={2}
          maxLength={500}
          required
          placeholder="For the record, and for who corrects it"
          onKeyDown={(event) => {
            if (event.key === "Escape") props.onCancel();
          }}
        />
      </label>
      <div class="buttons">
        <button type="submit" class="danger" disabled={props.busy}>
          Reject
        </button>
        <button type="button" onClick={props.onCancel}>
          Cancel
        </button>
      </div>
    </form>
  );
}

/** The verdict on the MR, and what somebody says of it. */
export function RegistrationPanel({ store }: { store: CaseStore }) {
  const rejecting = useSignal(false);
  const registration = store.job.value?.registration;
  if (!registration) return null;
  const said = store.review.value?.registration;
  const judgeable = registration.verdict === "used" && canReview(store);
  const busy = store.busy.value;
  return (
    <section class="registration" aria-labelledby="registration-title">
      <header>
        <h2 id="registration-title">Registration</h2>
        <span class={registration.verdict === "rejected" ? "mark-warn" : "soft"}>
          {VERDICTS[registration.verdict]}
        </span>
      </header>
      <p class="small">{registration.reason}</p>
      {said && (
        <p class="said small">
          {said.verdict} by {said.by}, {describeMoment(said.at)}
          {said.reason && <>: “{said.reason}”</>}{" "}
          {said.ct_only_job && (
            <Link to={`/jobs/${said.ct_only_job}/view`}>The job of the CT alone</Link>
          )}
          {said.remark}
        </p>
      )}
      {/* keeps the line's place, so that no organ moves under the next click */}
      {!said && judgeable && <p class="said small">not judged yet</p>}
      {judgeable && !rejecting.value && (
        <div class="buttons">
          <button
            type="button"
            aria-label="Accept registration"
            disabled={busy || said?.verdict === "accepted"}
            onClick={() => store.change("PUT", "registration", { verdict: "accepted" })}
          >
            Accept
          </button>
          <button
            type="button"
            aria-label="Reject registration"
            disabled={busy || said?.verdict === "rejected"}
            onClick={() => {
              rejecting.value = true;
            }}
          >
            Reject
          </button>
        </div>
      )}
      {judgeable && rejecting.value && (
        <Reason
          label="Why? The CT alone is contoured as a new case."
          busy={busy}
          onCancel={() => {
            rejecting.value = false;
          }}
          onSend={async (reason) => {
            const body = { verdict: "rejected", reason };
            const told = "The CT alone is contoured now, as a case of its own.";
            if (await store.change("PUT", "registration", body, told))
              rejecting.value = false;
          }}
        />
      )}
    </section>
  );
}

const VERDICTS = { used: "MR used", rejected: "MR rejected", absent: "No MR" };

/** How far the review is, and the line to sign on. */
export function SignaturePanel({ store }: { store: CaseStore }) {
  const review = store.review.value;
  const name = useRef<HTMLInputElement>(null);
  if (!review) return null;
  const contoured = store.rows.value.filter(isContoured).length;
  const left = review.unjudged.length;
  if (review.signature) return <Signed store={store} />;
  const asksName = session.value?.key == null;
  async function sign(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const body = {
      version: review?.version ?? 0,
      ...(asksName ? { name: name.current?.value.trim() ?? "" } : {}),
    };
    await store.change("POST", "signature", body, "Signed.");
  }
  return (
    <section class="signature" aria-labelledby="signature-title">
      <header>
        <h2 id="signature-title">Review</h2>
        <span class="soft small">Version {review.version}</span>
        <span class="spread" />
        <span class="small">
          {contoured - left} of {contoured} judged
        </span>
      </header>
      <progress max={Math.max(contoured, 1)} value={contoured - left} />
      {!may("review") && <p class="small soft">Your key may look, but not review.</p>}
      {canReview(store) && (
        <form onSubmit={sign} class="buttons">
          {left > 0 && <AcceptRest store={store} />}
          {asksName && (
            <input
              ref={name}
              required
              maxLength={64}
              placeholder="Your name"
              aria-label="Your name"
            />
          )}
          <button
            type="submit"
            class="primary"
            disabled={left > 0 || store.busy.value || store.correcting.value !== null}
          >
            Sign
          </button>
        </form>
      )}
      {store.correcting.value !== null && (
        <p class="small soft">A correction goes on: save or cancel it, then sign.</p>
      )}
    </section>
  );
}

/** Organs without a doubt may be accepted at once; doubtful ones are looked at singly. */
function AcceptRest({ store }: { store: CaseStore }) {
  const open = new Set(store.review.value?.unjudged);
  const rest = store.rows.value.filter(
    (row) => open.has(row.name) && row.status === "contoured",
  );
  if (rest.length === 0) return null;
  return (
    <button
      type="button"
      disabled={store.busy.value}
      onClick={() =>
        store.change("POST", "organs", {
          organs: rest.map((row) => ({ organ: row.name, verdict: "accepted" })),
        })
      }
    >
      Accept {rest.length} without doubts
    </button>
  );
}

function Signed({ store }: { store: CaseStore }) {
  const review = store.review.value;
  if (!review?.signature) return null;
  const { signature, left_out: leftOut } = review;
  return (
    <section class="signature" aria-labelledby="signature-title">
      <header>
        <h2 id="signature-title">Signed</h2>
        <span class="soft small">Version {review.version}</span>
      </header>
      <p>
        {signature.name}, {new Date(signature.at).toLocaleString()}
      </p>
      <Downloads store={store} />
      {Object.entries(leftOut).map(([name, why]) => (
        <p key={name} class="small soft">
          {name}: {why}
        </p>
      ))}
      {may("review") && (
        <button
          type="button"
          disabled={store.busy.value}
          onClick={() =>
            store.change("POST", "reopen", null, "The review is open again.")
          }
        >
          Reopen
        </button>
      )}
    </section>
  );
}
