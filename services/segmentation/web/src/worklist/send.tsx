/** The dialog that sends cases: what will be sent, which is CT and which MR, options. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { fetchJson, sentenceOf } from "../core/http";
import { noteEnd } from "../core/session";
import type { Model } from "../core/types";
import { Dialog } from "../parts/dialog";
import { notify } from "../parts/notices";
import { type Case, groupCases, moveItem } from "./cases";
import { droppedFiles } from "./dropped";
import { findFault, makeItems } from "./items";
import { CaseList, type Sent } from "./send-list";
import { reload } from "./store";
import { sendCase } from "./upload";

const REGISTRATIONS = [
  ["rigid", "Rigid"],
  ["affine", "Affine"],
  ["deformable", "Deformable"],
  ["none", "None: trust the headers"],
];

/** The dialog. */
export function SendDialog({ files, onClose }: { files: File[]; onClose: () => void }) {
  const cases = useSignal<Case[]>([]);
  const leftOut = useSignal(0);
  const fault = useSignal<string | null>(null);
  const sent = useSignal<Sent>({});
  const busy = useSignal(false);
  const abort = useRef(new AbortController());
  const all = useRef<File[]>([]);

  async function add(more: File[]): Promise<void> {
    all.current = [...all.current, ...more];
    const found = await makeItems(all.current);
    cases.value = groupCases(found.items);
    leftOut.value = found.leftOut;
    sent.value = {};
    fault.value = more.length && cases.value.length === 0 ? findFault([]) : null;
  }
  useEffect(() => void add(files), [files]);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    fault.value = null;
    const faults = cases.value.flatMap((each) => {
      const found = findFault(each.items);
      return found === null ? [] : [[each.key, { fault: found }] as const];
    });
    sent.value = Object.fromEntries(faults);
    if (faults.length > 0 || cases.value.length === 0) return;
    busy.value = true;
    const chosen = optionsOf(event.currentTarget as HTMLFormElement);
    const failed = await sendAll(cases.value, chosen, sent, abort.current.signal);
    busy.value = false;
    const done = cases.value.length - failed.length;
    if (done > 0) {
      notify("done", describeSent(cases.value, done));
      await reload();
    }
    cases.value = failed;
    if (failed.length === 0) onClose();
  }

  function close(): void {
    abort.current.abort();
    onClose();
  }

  const count = cases.value.length;
  return (
    <Dialog
      title={count > 1 ? `Send ${count} cases` : "Send a case"}
      onClose={close}
      wide
    >
      <form onSubmit={submit} class="send">
        <Chooser onFiles={add} hasItems={count > 0} />
        <CaseList
          cases={cases.value}
          sent={sent.value}
          leftOut={leftOut.value}
          onChange={(changed) => {
            cases.value = cases.value.map((each) =>
              each.key === changed.key ? changed : each,
            );
          }}
          onMove={(item, to) => {
            cases.value = moveItem(cases.value, item, to);
          }}
        />
        <Options />
        {fault.value !== null && (
          <p class="fault" role="alert">
            {fault.value}
          </p>
        )}
        <div class="dialog-buttons">
          <button type="button" onClick={close}>
            {busy.value ? "Stop sending" : "Close"}
          </button>
          <button type="submit" class="primary" disabled={busy.value || count === 0}>
            {count > 1 ? `Send ${count} cases` : "Send"}
          </button>
        </div>
      </form>
    </Dialog>
  );
}

type Options = { model: string; registration: string };

function optionsOf(form: HTMLFormElement): Options {
  const chosen = new FormData(form);
  return {
    model: String(chosen.get("model") || "default"),
    registration: String(chosen.get("registration")),
  };
}

/** Send one case after another; return those that were not taken. */
async function sendAll(
  cases: Case[],
  options: Options,
  sent: { value: Sent },
  signal: AbortSignal,
): Promise<Case[]> {
  const failed: Case[] = [];
  for (const each of cases) {
    const name = each.name.trim();
    const note = (what: Sent[string]) => {
      sent.value = { ...sent.value, [each.key]: what };
    };
    note({ share: 0 });
    try {
      const request = { ...(name ? { case: name } : {}), options };
      await sendCase(each.items, request, (share) => note({ share }), signal);
      note({ done: true });
    } catch (error) {
      noteEnd(error);
      failed.push(each);
      note({ fault: sentenceOf(error) });
      if (signal.aborted) return [];
    }
  }
  return failed;
}

function describeSent(cases: Case[], done: number): string {
  if (cases.length > 1) return `${done} of ${cases.length} cases were sent.`;
  return `${cases[0]?.name.trim() || "The case"} was sent.`;
}

function Chooser(props: { onFiles: (files: File[]) => void; hasItems: boolean }) {
  const files = useRef<HTMLInputElement>(null);
  const folder = useRef<HTMLInputElement>(null);
  function keepFolder(element: HTMLInputElement | null): void {
    element?.setAttribute("webkitdirectory", "");
    folder.current = element;
  }
  function chosen(event: { currentTarget: HTMLInputElement }): void {
    props.onFiles([...(event.currentTarget.files ?? [])]);
    event.currentTarget.value = "";
  }
  async function drop(event: DragEvent): Promise<void> {
    event.preventDefault();
    event.stopPropagation();
    if (event.dataTransfer) props.onFiles(await droppedFiles(event.dataTransfer));
  }
  return (
    // biome-ignore lint/a11y/noStaticElementInteractions: the buttons do the same
    <div
      class={props.hasItems ? "chooser small" : "chooser"}
      onDragOver={(event) => event.preventDefault()}
      onDrop={drop}
    >
      <p>
        {props.hasItems
          ? "Drop more files here, or"
          : "Drop the planning CT here, and the MR if there is one, or a folder of cases. NIfTI, NRRD, MHA, or DICOM as files, folders or a zip."}
      </p>
      <button type="button" onClick={() => files.current?.click()}>
        Choose files
      </button>
      <button type="button" onClick={() => folder.current?.click()}>
        Choose a folder
      </button>
      <input
        ref={files}
        type="file"
        multiple
        hidden
        onChange={chosen}
        aria-label="Files"
      />
      <input
        ref={keepFolder}
        type="file"
        hidden
        onChange={chosen}
        aria-label="Folder"
      />
    </div>
  );
}

function Options() {
  const models = useSignal<Model[]>([]);
  useEffect(() => {
    fetchJson<{ models: Model[] }>("v1/models").then(
      (found) => {
        models.value = found.models;
      },
      () => undefined, // the default will do
    );
  }, []);
  return (
    <div class="options">
      <div class="option">
        <label for="send-model">Model</label>
        <select id="send-model" name="model">
          {models.value.map(({ name }) => (
            <option key={name} value={name} selected={name === "default"}>
              {name}
            </option>
          ))}
        </select>
      </div>
      <div class="option">
        <label for="send-registration">Registration</label>
        <select id="send-registration" name="registration">
          {REGISTRATIONS.map(([value, label]) => (
            <option key={value} value={value}>
              {label}
            </option>
          ))}
        </select>
      </div>
    </div>
  );
}
