/** What a case is made of: images, archives and DICOM files, and which is the CT. */

import { isDicom, readHead } from "./dicom-head";
import { folderOf } from "./dropped";

export type Role = "ct" | "mr" | "none";

/** One thing to send: an image or archive, or the DICOM files of one series. */
export interface Item {
  key: string;
  label: string;
  /** The folders it lay in, such as `spring/case_01`; empty for single files. */
  folder: string;
  files: File[];
  bytes: number;
  dicom: boolean;
  /** What the files themselves say they are, and of whom, if they do. */
  modality: string | null;
  patient: string | null;
  role: Role;
}

/** What was found among files. */
export interface Found {
  items: Item[];
  /** Files that are masks by their names, or no images. */
  leftOut: number;
}

const IMAGE = /\.(nii|nii\.gz|nrrd|mha)$/i;
const ARCHIVE = /\.zip$/i;
const SEGMENTS = /\.seg\.nrrd$/i;
const HEAD_BYTES = 16384;

const CT_WORD = /^(p?ct|planct|planningct)$/;
const MR_WORD = /^(mr|mri|mrt|t1w?|mrt1|mrit1)$/;
const MASK_WORD = /^(oars?|labels?|labelmaps?|masks?|segs?|segmentations?|doses?)\d*$/;
const FILLER_WORD = /^(img|image)$/;

/** Group files into items. */
export async function makeItems(files: File[]): Promise<Found> {
  const items: Item[] = [];
  const series = new Map<string, Item>();
  let leftOut = 0;
  for (const file of files) {
    if (IMAGE.test(file.name) || ARCHIVE.test(file.name)) {
      if (SEGMENTS.test(file.name) || readName(file.name).role === "mask") leftOut += 1;
      else items.push(plainItem(file, items.length));
      continue;
    }
    const head = new Uint8Array(await file.slice(0, HEAD_BYTES).arrayBuffer());
    if (isDicom(head)) addToSeries(series, file, head);
    else leftOut += 1;
  }
  return { items: [...series.values(), ...items], leftOut };
}

function plainItem(file: File, index: number): Item {
  return {
    key: `${index} ${file.name}`,
    label: file.name,
    folder: folderOf(file),
    files: [file],
    bytes: file.size,
    dicom: false,
    modality: null,
    patient: null,
    role: "none",
  };
}

function addToSeries(series: Map<string, Item>, file: File, head: Uint8Array): void {
  const folder = folderOf(file);
  const { modality, patient, series: uid } = readHead(head);
  const key = `${modality} ${uid ?? folder} ${patient}`;
  const found = series.get(key) ?? {
    key,
    label: folder || "DICOM files",
    folder,
    files: [],
    bytes: 0,
    dicom: true,
    modality,
    patient,
    role: "none" as Role,
  };
  found.files.push(file);
  found.bytes += file.size;
  series.set(key, found);
}

/** What a file's name says: the last word that names a role decides, as in `SEG-1_ct`. */
export function readName(name: string): {
  role: "ct" | "mr" | "mask" | null;
  /** The rest: whose it is. */
  rest: string;
} {
  const stem = name.replace(IMAGE, "").replace(ARCHIVE, "");
  const words = stem.split(/[^\p{L}\p{N}]+/u).filter(Boolean);
  const kinds = words.map((word) => kindOf(word.toLowerCase()));
  const speaking = kinds.filter((kind) => kind !== null && kind !== "filler");
  const rest = words.filter((_, index) => kinds[index] === null);
  return { role: speaking.at(-1) ?? null, rest: rest.join("_") };
}

function kindOf(word: string): "ct" | "mr" | "mask" | "filler" | null {
  if (CT_WORD.test(word)) return "ct";
  if (MR_WORD.test(word)) return "mr";
  if (MASK_WORD.test(word)) return "mask";
  return FILLER_WORD.test(word) ? "filler" : null;
}

/** What an item is by its content, its name, or the folder it lies in. */
export function saidRole(item: Item): Role | null {
  if (item.modality === "CT") return "ct";
  if (item.modality === "MR") return "mr";
  if (item.modality !== null) return "none";
  const said = readName(item.label.split("/").at(-1) ?? "").role;
  const around = readName(item.folder.split("/").at(-1) ?? "").role;
  const role = said ?? around;
  return role === "mask" ? "none" : role;
}

/** Give each item of one case a role: what is said of it, else by size. */
export function guessRoles(items: Item[]): Item[] {
  const found = items.map((item) => ({ ...item, role: "none" as Role }));
  take(found, "ct", (item) => saidRole(item) === "ct");
  take(found, "mr", (item) => saidRole(item) === "mr");
  take(found, "ct", (item) => item.modality === null);
  if (items.length === 2) take(found, "mr", (item) => item.modality === null);
  return found;
}

function take(items: Item[], role: Role, fits: (item: Item) => boolean): void {
  if (items.some((item) => item.role === role)) return;
  const [first] = items
    .filter((item) => item.role === "none" && fits(item))
    .sort((a, b) => b.files.length - a.files.length || b.bytes - a.bytes);
  if (first) first.role = role;
}

/** What is wrong with a choice of roles; null if it can be sent. */
export function findFault(items: Item[]): string | null {
  const count = (role: Role) => items.filter((item) => item.role === role).length;
  if (items.length === 0) return "None of these files is an image that is read here.";
  if (count("ct") === 0) return "Choose which of them is the planning CT.";
  if (count("ct") > 1) return "A case has one planning CT; leave the others out.";
  if (count("mr") > 1) return "A case has one MR at most; leave the others out.";
  return null;
}

/** A name for the case: its folder's, or the CT's file name without what says "CT". */
export function guessCase(items: Item[], folder: string): string {
  if (folder) return folder;
  const ct = items.find((item) => item.role === "ct");
  const first = ct?.files[0];
  if (!ct || !first || ct.dicom) return "";
  return (
    readName(first.name).rest || first.name.replace(IMAGE, "").replace(ARCHIVE, "")
  );
}
