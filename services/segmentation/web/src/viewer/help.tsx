/** The list of keys, over the page. */

import { Dialog } from "../parts/dialog";
import { CORRECTION_KEYS, IMAGE_KEYS, KEYS, type Key } from "./keys";

/** All keys and what they do. */
export function Help({ onClose }: { onClose: () => void }) {
  return (
    <Dialog title="Keys" onClose={onClose} wide>
      <KeyList keys={KEYS} />
      <h3>On the images, once they have the focus</h3>
      <KeyList keys={IMAGE_KEYS} />
      <h3>While an organ is corrected</h3>
      <KeyList keys={CORRECTION_KEYS} />
      <p class="soft small">
        Mouse: click to move the crosshair, wheel for slices, Ctrl and wheel to enlarge,
        drag with Shift to move the image, with the right button for the window, in the
        3-D view to turn it. Alt changes paint to erase, and so does the other end of a
        pen. Two fingers leave the tool and go through the slices.
      </p>
      <div class="dialog-buttons">
        <button type="button" onClick={onClose}>
          Close
        </button>
      </div>
    </Dialog>
  );
}

function KeyList({ keys }: { keys: Key[] }) {
  return (
    <dl class="keys">
      {keys.map((each) => (
        <div key={each.command}>
          <dt>
            <kbd>{each.shown}</kbd>
          </dt>
          <dd>{each.does}</dd>
        </div>
      ))}
    </dl>
  );
}
