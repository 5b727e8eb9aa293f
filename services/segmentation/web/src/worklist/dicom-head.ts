/** What a DICOM file says of itself, read from its beginning alone. */

/** What is read; null where it is not said. Nothing of it is shown or sent. */
export interface DicomHead {
  modality: string | null;
  patient: string | null;
  series: string | null;
}

const PREFIX_AT = 128;
const MODALITY = 0x00080060;
const PATIENT_ID = 0x00100020;
const SERIES_UID = 0x0020000e;
const TRANSFER_SYNTAX = 0x00020010;
const ITEM = 0xfffee000;
const ITEM_END = 0xfffee00d;
const SEQUENCE_END = 0xfffee0dd;
const UNDEFINED = 0xffffffff;
const IMPLICIT = "1.2.840.10008.1.2";
const LONG_FORMS = new Set([
  "OB",
  "OD",
  "OF",
  "OL",
  "OV",
  "OW",
  "SQ",
  "UC",
  "UN",
  "UR",
  "UT",
]);

/** Whether a file begins as a DICOM file does (PS3.10, 7.1). */
export function isDicom(head: Uint8Array): boolean {
  return textOf(head.subarray(PREFIX_AT, PREFIX_AT + 4)) === "DICM";
}

/**
 * Read modality, patient and series; little endian, explicit or implicit (PS3.5, 7.1).
 *
 * Elements within sequences are passed over: a referenced series is not the file's own.
 */
export function readHead(head: Uint8Array): DicomHead {
  const found: DicomHead = { modality: null, patient: null, series: null };
  let implicit = false;
  for (const { tag, value } of elements(head, () => implicit)) {
    if (tag === TRANSFER_SYNTAX) implicit = value === IMPLICIT;
    else if (tag === MODALITY) found.modality = value || null;
    else if (tag === PATIENT_ID) found.patient = value || null;
    else if (tag === SERIES_UID) found.series = value || null;
    if (tag >= SERIES_UID && tag < ITEM) break;
  }
  return found;
}

interface Element {
  tag: number;
  value: string;
}

function* elements(head: Uint8Array, isImplicit: () => boolean): Generator<Element> {
  const view = new DataView(head.buffer, head.byteOffset, head.byteLength);
  let at = PREFIX_AT + 4;
  let depth = 0;
  while (at + 12 <= head.length) {
    const group = view.getUint16(at, true);
    const tag = group * 0x10000 + view.getUint16(at + 2, true);
    const plain = group === 0xfffe || (isImplicit() && group !== 2);
    const [start, length] = plain
      ? [at + 8, view.getUint32(at + 4, true)]
      : explicitLength(view, at);
    at = start;
    if (tag === ITEM_END || tag === SEQUENCE_END) depth -= 1;
    else if (length === UNDEFINED) depth += 1;
    else {
      if (depth === 0 && tag !== ITEM) {
        yield { tag, value: textOf(head.subarray(start, start + length)).trim() };
      }
      at = start + (tag === ITEM ? 0 : length);
    }
  }
}

function explicitLength(view: DataView, at: number): [start: number, length: number] {
  const form = String.fromCharCode(view.getUint8(at + 4), view.getUint8(at + 5));
  return LONG_FORMS.has(form)
    ? [at + 12, view.getUint32(at + 8, true)]
    : [at + 8, view.getUint16(at + 6, true)];
}

function textOf(bytes: Uint8Array): string {
  return String.fromCharCode(...bytes.subarray(0, 64)).replaceAll("\0", "");
}
