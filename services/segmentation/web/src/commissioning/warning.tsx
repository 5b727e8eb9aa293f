/** A warning where what runs is not what was commissioned. */

import { useSignal } from "@preact/signals";
import { useEffect } from "preact/hooks";
import { Link } from "../core/router";
import { findDoubts } from "./sheet";
import { loadLast } from "./store";

/** The warning of the worklist; nothing where there is no reason for it. */
export function CommissioningWarning() {
  const doubts = useSignal<string[]>([]);
  useEffect(() => {
    loadLast().then(
      (last) => {
        doubts.value = findDoubts(last);
      },
      () => undefined, // the worklist itself says that the service does not answer
    );
  }, []);
  if (doubts.value.length === 0) return null;
  return (
    <p class="warning" role="note">
      <strong>Not as commissioned.</strong> {doubts.value.join(" ")}{" "}
      <Link to="/commissioning">Look at the commissioning</Link>
    </p>
  );
}
