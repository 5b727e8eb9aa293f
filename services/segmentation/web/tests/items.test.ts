import { expect, test } from "vitest";
import { groupCases, moveItem } from "../src/worklist/cases";
import { isDicom, readHead } from "../src/worklist/dicom-head";
import { findFault, guessRoles, type Item, makeItems } from "../src/worklist/items";

function image(path: string, bytes = 10): File {
  const file = new File([new Uint8Array(bytes)], path.split("/").at(-1) ?? "");
  Object.defineProperty(file, "webkitRelativePath", { value: path });
  return file;
}

/** The beginning of a DICOM file, explicit or implicit, its own series after others. */
function dicom(modality: string, patient = "1", series = "1", explicit = true) {
  const bytes: number[] = [];
  const word = (value: number) => [value & 255, value >> 8];
  function add(group: number, element: number, form: string, text: string): void {
    const value = [...text].map((each) => each.charCodeAt(0));
    if (value.length % 2 === 1) value.push(form === "UI" ? 0 : 32);
    const isExplicit = explicit || group === 2;
    const length = isExplicit
      ? [form.charCodeAt(0), form.charCodeAt(1), ...word(value.length)]
      : [...word(value.length), 0, 0];
    bytes.push(...word(group), ...word(element), ...length, ...value);
  }
  function mark(group: number, element: number, form = ""): void {
    const length = form && explicit ? [83, 81, 0, 0] : [];
    bytes.push(...word(group), ...word(element), ...length, 255, 255, 255, 255);
  }
  add(2, 0x10, "UI", explicit ? "1.2.840.10008.1.2.1" : "1.2.840.10008.1.2");
  add(8, 0x60, "CS", modality);
  mark(8, 0x1115, "SQ");
  mark(0xfffe, 0xe000);
  add(0x20, 0x0e, "UI", "9.9.9");
  bytes.push(...word(0xfffe), ...word(0xe00d), 0, 0, 0, 0);
  bytes.push(...word(0xfffe), ...word(0xe0dd), 0, 0, 0, 0);
  add(0x10, 0x20, "LO", patient);
  add(0x20, 0x0d, "UI", "1.2");
  add(0x20, 0x0e, "UI", series);
  const head = new Uint8Array(132 + bytes.length + 16);
  head.set([0x44, 0x49, 0x43, 0x4d], 128);
  head.set(bytes, 132);
  return head;
}

function slice(path: string, ...head: Parameters<typeof dicom>): File {
  const file = new File([dicom(...head)], "IM1");
  Object.defineProperty(file, "webkitRelativePath", { value: `${path}/IM1` });
  return file;
}

async function cases(...files: File[]) {
  return groupCases((await makeItems(files)).items);
}

/** Cases as names with the labels of their CT and MR. */
async function described(...files: File[]): Promise<[string, ...string[]][]> {
  const label = (items: Item[], role: string) =>
    items.find((item) => item.role === role)?.label ?? "";
  return (await cases(...files)).map(({ name, items }) => [
    name,
    label(items, "ct"),
    label(items, "mr"),
  ]);
}

test("names say which is the CT and which the MR", async () => {
  const found = await described(
    image("case_01_IMG_MR_T1.nrrd"),
    image("case_01_CT.nrrd"),
  );
  expect(found).toEqual([["case_01", "case_01_CT.nrrd", "case_01_IMG_MR_T1.nrrd"]]);
});

test("of two images without a hint the larger is the CT", async () => {
  const found = await described(image("a.nii.gz", 5), image("b.nii.gz", 50));
  expect(found).toEqual([["b", "b.nii.gz", "a.nii.gz"]]);
});

test("letters within a word are no hint", async () => {
  const found = await described(image("doctor.nii"), image("sct_mri.nii"));
  expect(found).toEqual([["doctor", "doctor.nii", "sct_mri.nii"]]);
});

test("masks and other files are left out, and counted", async () => {
  const found = await makeItems([
    image("case_01/case_01_IMG_CT.nrrd"),
    image("case_01/case_01_OAR_Brainstem.seg.nrrd"),
    image("case_01/SEG-1_ct_label.nii.gz"),
    image("case_01/notes.txt"),
    image("case_01/SEG-1_mr.nii.gz"),
  ]);
  expect(found.items.map(({ label }) => label)).toEqual([
    "case_01_IMG_CT.nrrd",
    "SEG-1_mr.nii.gz",
  ]);
  expect(found.leftOut).toBe(3);
});

test("DICOM files are one item a series, and say what they are", async () => {
  const { items } = await makeItems([
    slice("p", "MR", "1", "1.1"),
    slice("p", "CT", "1", "1.2"),
    slice("p", "CT", "1", "1.2"),
    slice("p", "CT", "1", "1.3"),
  ]);
  const shown = guessRoles(items).map((each) => [
    each.modality,
    each.files.length,
    each.role,
  ]);
  expect(shown).toEqual([
    ["MR", 1, "mr"],
    ["CT", 2, "ct"],
    ["CT", 1, "none"],
  ]);
});

test("a DICOM file is read in both forms, and only what is its own", () => {
  expect(isDicom(dicom("CT"))).toBe(true);
  expect(isDicom(new Uint8Array(256))).toBe(false);
  const own = { modality: "MR", patient: "P7", series: "1.2.3" };
  for (const explicit of [true, false]) {
    expect(readHead(dicom("MR", "P7", "1.2.3", explicit))).toEqual(own);
  }
  const nothing = { modality: null, patient: null, series: null };
  expect(readHead(new Uint8Array(256))).toEqual(nothing);
  expect(readHead(dicom("MR").subarray(0, 150))).toEqual(nothing);
});

test("a folder of folders is a case each", async () => {
  const found = await described(
    image("set_1/case_01/case_01_IMG_CT.nrrd"),
    image("set_1/case_01/case_01_IMG_MR_T1.nrrd"),
    image("set_1/case_02/case_02_IMG_CT.nrrd"),
  );
  expect(found).toEqual([
    ["case_01", "case_01_IMG_CT.nrrd", "case_01_IMG_MR_T1.nrrd"],
    ["case_02", "case_02_IMG_CT.nrrd", ""],
  ]);
});

test("CT and MR in folders of their own are one case", async () => {
  const found = await described(
    slice("anna/CT", "CT", "1", "1.1"),
    slice("anna/MR", "MR", "1", "1.2"),
  );
  expect(found).toEqual([["anna", "anna/CT", "anna/MR"]]);
});

test("files side by side are told apart by their names", async () => {
  const found = await described(
    image("all/anna_ct.nii.gz"),
    image("all/bert_t1.nii.gz"),
    image("all/anna_t1.nii.gz"),
    image("all/bert_ct.nii.gz"),
  );
  expect(found).toEqual([
    ["anna", "anna_ct.nii.gz", "anna_t1.nii.gz"],
    ["bert", "bert_ct.nii.gz", "bert_t1.nii.gz"],
  ]);
});

test("folders of CTs and of MRs are put together by name", async () => {
  const found = await described(
    image("all/CT/anna.nii.gz"),
    image("all/CT/bert.nii.gz"),
    image("all/MR/anna.nii.gz"),
  );
  expect(found).toEqual([
    ["anna", "anna.nii.gz", "anna.nii.gz"],
    ["bert", "bert.nii.gz", ""],
  ]);
});

test("DICOM files of several patients are put together by patient", async () => {
  const found = await described(
    slice("all/CT_1", "CT", "P1", "1.1"),
    slice("all/CT_2", "CT", "P2", "1.2"),
    slice("all/MR_2", "MR", "P2", "1.3"),
  );
  expect(found.map(([, ct, mr]) => [ct, mr])).toEqual([
    ["all/CT_1", ""],
    ["all/CT_2", "all/MR_2"],
  ]);
});

test("what was guessed wrongly can be moved", async () => {
  const found = await cases(
    image("a/p_ct.nii"),
    image("a/q_ct.nii"),
    image("a/q_mr.nii"),
  );
  const mr = found[1]?.items.find((item) => item.role === "mr")?.key ?? "";
  const moved = moveItem(found, mr, "case 1");
  expect(moved.map(({ items }) => items.map(({ role }) => role))).toEqual([
    ["ct", "mr"],
    ["ct"],
  ]);
  const apart = moveItem(moved, moved[1]?.items[0]?.key ?? "", "case 1");
  expect(apart).toHaveLength(1);
  expect(moveItem(found, mr, "new")).toHaveLength(3);
});

test("a case needs one CT, and has one MR at most", async () => {
  const [{ items } = { items: [] }] = await cases(image("a_ct.nii"), image("a_mr.nii"));
  expect(findFault(items)).toBeNull();
  expect(findFault([])).toContain("None of these files");
  expect(findFault(items.map((item) => ({ ...item, role: "mr" as const })))).toContain(
    "planning CT",
  );
  expect(findFault(items.map((item) => ({ ...item, role: "ct" as const })))).toContain(
    "one planning CT",
  );
});

test("a case is called as its CT's file", async () => {
  expect((await cases(image("case_07_IMG_CT.nrrd")))[0]?.name).toBe("case_07");
  expect((await cases(image("ct.nii.gz")))[0]?.name).toBe("ct");
});
