/** What a signature hands on, to be fetched by hand. */

import { address } from "../core/http";
import type { CaseStore } from "./store";

/** Files by the end of their names, in the order in which they are offered. */
const WORDS: [name: string, words: string][] = [
  ["rtstruct.dcm", "Structure set"],
  ["seg.dcm", "Segmentation"],
  ["labelmap.dcm", "DICOM label map"],
  ["segmentation.nii.gz", "Label map"],
  ["reg.dcm", "Registration"],
  ["report.dcm", "Report"],
];

/** Links to the files of a signed review, the MR's slices left to programs; and to all
 * of the job's results in one archive, which names itself. */
export function Downloads({ store }: { store: CaseStore }) {
  const files = store.review.value?.files ?? [];
  const offered = WORDS.flatMap(([name, words]) => {
    const file = files.find((each) => each.name.split("/").at(-1) === name);
    return file ? [{ path: file.name, name, words }] : [];
  });
  if (offered.length === 0) return null;
  return (
    <ul class="downloads" aria-label="Signed files">
      {offered.map(({ path, name, words }) => (
        <li key={path}>
          <a href={address(`v1/jobs/${store.id}/results/${path}`)} download={name}>
            {words}
          </a>
        </li>
      ))}
      <li>
        <a href={address(`v1/jobs/${store.id}/results.zip`)} download>
          Download all
        </a>
      </li>
    </ul>
  );
}
