/** The corrected contours of a case, fetched as its review names them. */

import { effect } from "@preact/signals";
import { sentenceOf } from "../core/http";
import { notify } from "../parts/notices";
import { fetchUnpacked } from "./fetch-image";
import type { Scene } from "./scene";
import type { CaseStore, Row } from "./store";

/** Show the corrected contours that the review has, until the returned function is called. */
export function followCorrections(
  scene: Pick<Scene, "showCorrections">,
  store: CaseStore,
): () => void {
  let shown: string | null = ""; // null: not known
  const stop = effect(() => {
    const edited = store.rows.value.filter((row) => row.said?.mask?.href);
    const wanted = edited.map((row) => row.said?.mask?.sha256).join(" ");
    if (wanted === shown) return;
    shown = wanted;
    Promise.all(edited.map(fetchMask)).then(
      (masks) => {
        if (wanted === shown) scene.showCorrections(new Map(masks));
      },
      (error: unknown) => {
        if (wanted !== shown) return; // others are wanted meanwhile, or none
        shown = null;
        notify("error", `Corrected contours are not shown: ${sentenceOf(error)}`);
      },
    );
  });
  return () => {
    stop();
    shown = null;
  };
}

async function fetchMask(row: Row): Promise<[number, Uint8Array]> {
  const path = row.said?.mask?.href ?? "";
  const mask = await fetchUnpacked(path, new AbortController().signal);
  return [row.label, new Uint8Array(mask)];
}
