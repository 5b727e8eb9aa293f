/** What will be sent: each case with its images, and how far it is. */

import { describeBytes } from "../core/words";
import type { Case } from "./cases";
import type { Item, Role } from "./items";

/** What became of each case so far: how much is sent, what is at fault. */
export type Sent = Record<string, { share?: number; done?: boolean; fault?: string }>;

const ROLES: [Role, string][] = [
  ["ct", "Planning CT"],
  ["mr", "T1 MR"],
  ["none", "Leave out"],
];

interface ListProps {
  cases: Case[];
  sent: Sent;
  leftOut: number;
  onChange: (changed: Case) => void;
  onMove: (item: string, to: string) => void;
}

/** The cases, each with a name and its images. */
export function CaseList(props: ListProps) {
  const { cases, leftOut } = props;
  if (cases.length === 0) return null;
  return (
    <div class="cases">
      {cases.length > 1 && (
        <p class="soft small">
          {cases.length} cases were found. Check which images belong together; each is
          sent as a case of its own.
        </p>
      )}
      {cases.map((each, index) => (
        <CaseFields key={each.key} {...props} each={each} index={index} />
      ))}
      {leftOut > 0 && (
        <p class="soft small">
          {leftOut === 1 ? "1 file is" : `${leftOut} files are`} left out: masks by
          their names, or no images.
        </p>
      )}
    </div>
  );
}

function CaseFields(props: ListProps & { each: Case; index: number }) {
  const { each, index, cases, sent, onChange } = props;
  const id = `send-case-${index}`;
  const state = sent[each.key];
  return (
    <fieldset class={cases.length > 1 ? "case-fields many" : "case-fields"}>
      <legend class={cases.length > 1 ? undefined : "hidden"}>
        {cases.length > 1 ? `Case ${index + 1} of ${cases.length}` : "The case"}
      </legend>
      <div class="option">
        <label for={id}>Case name</label>
        <input
          id={id}
          value={each.name}
          maxLength={128}
          autocomplete="off"
          onInput={(event) => onChange({ ...each, name: event.currentTarget.value })}
        />
      </div>
      <ul class="items">
        {each.items.map((item) => (
          <ItemRow key={item.key} {...props} item={item} />
        ))}
      </ul>
      {state?.fault !== undefined && (
        <p class="fault" role="alert">
          {state.fault}
        </p>
      )}
      {state?.share !== undefined && <Sending share={state.share} />}
      {state?.done && <p class="mark-good">Sent</p>}
    </fieldset>
  );
}

function ItemRow(props: ListProps & { each: Case; item: Item }) {
  const { each, item, cases, onChange, onMove } = props;
  function give(role: Role): void {
    const items = each.items.map((other) =>
      other.key === item.key ? { ...other, role } : other,
    );
    onChange({ ...each, items });
  }
  return (
    <li class={item.role === "none" ? "left-out" : undefined}>
      <span class="item-name">{item.label}</span>
      <span class="soft small nowrap">{describeItem(item)}</span>
      <select
        aria-label={`What ${item.label} is`}
        value={item.role}
        onChange={(event) => give(event.currentTarget.value as Role)}
      >
        {ROLES.map(([role, label]) => (
          <option key={role} value={role}>
            {label}
          </option>
        ))}
      </select>
      {(cases.length > 1 || each.items.length > 1) && (
        <select
          aria-label={`Which case ${item.label} belongs to`}
          value={each.key}
          onChange={(event) => onMove(item.key, event.currentTarget.value)}
        >
          {cases.map((other, index) => (
            <option key={other.key} value={other.key}>
              {other.name || `Case ${index + 1}`}
            </option>
          ))}
          <option value={`new ${item.key}`}>A case of its own</option>
        </select>
      )}
    </li>
  );
}

function describeItem(item: Item): string {
  const size = describeBytes(item.bytes);
  if (!item.dicom) return size;
  const files = item.files.length === 1 ? "1 file" : `${item.files.length} files`;
  return `${item.modality ?? "DICOM"}, ${files}, ${size}`;
}

function Sending({ share }: { share: number }) {
  const checking = share >= 1;
  return (
    <p class="sending" role="status">
      <progress max={1} {...(checking ? {} : { value: share })} aria-label="Upload" />
      <span>
        {checking
          ? "The images are being checked…"
          : `${Math.round(share * 100)} % sent`}
      </span>
    </p>
  );
}
