/** Which images belong together: the cases that a drop of files or folders holds. */

import { guessCase, guessRoles, type Item, readName, saidRole } from "./items";

/** A case to send. */
export interface Case {
  key: string;
  name: string;
  items: Item[];
}

const LONGEST_NAME = 128;

/**
 * Put items together that are of one patient.
 *
 * DICOM files say of whom they are; of other images the folders tell, or the names in
 * one folder, as in `anna_ct.nii.gz` and `anna_t1.nii.gz`. Unless two of the groups
 * have a CT, everything is one case.
 */
export function groupCases(items: Item[]): Case[] {
  if (items.length === 0) return [];
  const ways = [byPatient(items), byFolder(items), byName(items)];
  const counts = ways.map((groups) => groups.filter(hasCt).length);
  const most = Math.max(...counts);
  const best = ways[counts.indexOf(most)];
  if (best === undefined || most < 2) return [makeCase(items, topFolder(items))];
  return best
    .map((group) => makeCase(group, ownFolder(group, items)))
    .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }))
    .map((each, index) => ({
      ...each,
      key: `case ${index + 1}`,
      name: each.name || `Case ${index + 1}`,
    }));
}

/** Move an item to another case, or to a new one; a case that is left empty goes. */
export function moveItem(cases: Case[], item: string, to: string): Case[] {
  const moved = cases.flatMap((each) => each.items).find((each) => each.key === item);
  if (!moved) return cases;
  const changed = cases.map((each) => {
    const others = each.items.filter((other) => other.key !== item);
    if (each.key === to) return { ...each, items: guessRoles([...others, moved]) };
    return others.length < each.items.length ? { ...each, items: others } : each;
  });
  if (!cases.some((each) => each.key === to)) {
    const items = guessRoles([moved]);
    changed.push({ key: to, name: guessCase(items, ""), items });
  }
  return changed.filter((each) => each.items.length > 0);
}

/** Cases that hold a CT, and can be sent. */
export function hasCt(items: Item[]): boolean {
  return items.some((item) => {
    const said = saidRole(item);
    return said === "ct" || (said === null && !item.dicom);
  });
}

function makeCase(items: Item[], folder: string): Case {
  const roles = guessRoles(items);
  const name = guessCase(roles, folder).slice(0, LONGEST_NAME);
  return { key: "case 1", name, items: roles };
}

function byPatient(items: Item[]): Item[][] {
  if (items.some((item) => item.patient === null)) return [items];
  return groupBy(items, (item) => item.patient ?? "");
}

function byFolder(items: Item[]): Item[][] {
  const depth = commonDepth(items);
  return groupBy(items, (item) => item.folder.split("/")[depth] ?? "");
}

/** Only names that say which is a CT: two images without a hint may be CT and MR. */
function byName(items: Item[]): Item[][] {
  const cts = items.filter((item) => !item.dicom && saidRole(item) === "ct");
  if (cts.length < 2) return [items];
  return groupBy(items, (item) => readName(item.label).rest);
}

function groupBy(items: Item[], key: (item: Item) => string): Item[][] {
  const groups = new Map<string, Item[]>();
  for (const item of items) {
    const group = groups.get(key(item));
    if (group) group.push(item);
    else groups.set(key(item), [item]);
  }
  return [...groups.values()];
}

/** How many folders all items have in common. */
function commonDepth(items: Item[]): number {
  const paths = items.map(({ folder }) => folder.split("/").filter(Boolean));
  const [first = []] = paths;
  const apart = first.findIndex((part, at) => paths.some((path) => path[at] !== part));
  return apart < 0 ? first.length : apart;
}

function topFolder(items: Item[]): string {
  const [first] = items;
  return first?.folder.split("/").filter(Boolean)[0] ?? "";
}

/** The first folder that not all cases share: that of the CT, unless it says no more. */
function ownFolder(items: Item[], all: Item[]): string {
  const ct = items.find((item) => saidRole(item) === "ct") ?? items[0];
  const name = ct?.folder.split("/")[commonDepth(all)] ?? "";
  return readName(name).rest ? name : "";
}
