/** The last commissioning: what was found, against which limits, and whether it holds. */

import { useEffect } from "preact/hooks";
import { address } from "../core/http";
import { may } from "../core/session";
import "../style/commissioning.css";
import { describeBytes } from "../core/words";
import { OrganFigures, PhantomFigures, Result } from "./figures";
import {
  type Commissioning,
  describePicture,
  findDoubts,
  type KeptFile,
  type Origin,
} from "./sheet";
import { chosen, failure, load, sheets, shown } from "./store";

const PDF = "commissioning.pdf";
const HTML = "commissioning.html";
const SCORES = "scores.csv";

/** What `/commissioning` shows. */
export default function CommissioningPage() {
  useEffect(() => void load(), []);
  const found = shown.value;
  return (
    <section class="commissioning">
      <h1>Commissioning</h1>
      {failure.value !== null && (
        <p class="fault panel" role="alert">
          {failure.value}
        </p>
      )}
      {sheets.value === null && failure.value === null && (
        <p class="loading">Loading the sheets…</p>
      )}
      {sheets.value?.length === 0 && <Never />}
      {found && <Warning last={sheets.value?.[0]} />}
      {found && <Shown found={found} />}
      <Others />
    </section>
  );
}

function Never() {
  return (
    <div class="empty">
      <h2>This service was never commissioned</h2>
      <p>
        Before contours are used for patients, a department shows that the service is
        fit for its own: with its own cases and contours, against its own limits.
      </p>
      <pre>
        <code>
          hanseg commission --write-limits limits.toml{"\n"}
          hanseg commission cases/ --out sheet --limits limits.toml --register
        </code>
      </pre>
      <p>
        The second command needs a key with the scope <code>admin</code>; its sheet is
        then shown here.
      </p>
    </div>
  );
}

function Warning({ last }: { last: Commissioning | undefined }) {
  const doubts = findDoubts(last);
  if (doubts.length === 0) return null;
  return (
    <div class="warning" role="note">
      <strong>Not as commissioned.</strong>
      <ul>
        {doubts.map((each) => (
          <li key={each}>{each}</li>
        ))}
      </ul>
      <p>
        Commission what runs now before its contours are used for patients:{" "}
        <code>hanseg commission … --register</code>
      </p>
    </div>
  );
}

function Shown({ found }: { found: Commissioning }) {
  const { sheet } = found;
  return (
    <>
      <Verdict found={found} />
      {sheet.failures.length > 0 && (
        <ul class="failures">
          {sheet.failures.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
      <section aria-labelledby="organs">
        <h2 id="organs">Organs: mean over the cases, and the limit</h2>
        <p class="soft">
          What the limit allows is shaded. ● meets it, ✗ does not. Distances in mm; the
          surface Dice at each organ's tolerance.
        </p>
        <OrganFigures organs={sheet.organs} />
      </section>
      <section aria-labelledby="phantoms">
        <h2 id="phantoms">
          Registration of a phantom, its CT stored in every position
        </h2>
        <p class="soft">
          Target registration error over the brain; the limit of the mean is{" "}
          {sheet.registration_limit_mm} mm, and the MR must be used.
        </p>
        <PhantomFigures sheet={sheet} />
      </section>
      <Pictures files={found.files} />
      <Details found={found} />
    </>
  );
}

function Verdict({ found }: { found: Commissioning }) {
  const { sheet } = found;
  const { model } = sheet.made_of;
  const count = sheet.failures.length;
  const failed = `${count} ${count === 1 ? "limit is" : "limits are"} not met`;
  return (
    <div class={sheet.passed ? "verdict passed" : "verdict failed"}>
      <p class="verdict-word">
        {sheet.passed ? "✓ Passed: every limit is met" : `✗ Failed: ${failed}`}
      </p>
      <dl>
        <Fact name="Made" value={describeTime(sheet.made_at)} />
        <Fact name="Signed by" value={sheet.signed_by ?? "nobody yet"} />
        <Fact
          name="Cases"
          value={`${sheet.cases}, ${sheet.cases_with_mr} with their MR`}
        />
        <Fact name="Model" value={`${model.name} ${model.version}`} />
        <Fact
          name="Software"
          value={sheet.made_of.versions["hanseg-segmentation"] ?? "unknown"}
        />
      </dl>
      <Downloads files={found.files} />
    </div>
  );
}

function Fact({ name, value }: { name: string; value: string }) {
  return (
    <div>
      <dt>{name}</dt>
      <dd>{value}</dd>
    </div>
  );
}

function Downloads({ files }: { files: KeptFile[] }) {
  if (files.length === 0 || !may("read_all")) {
    return (
      <p class="soft small">
        {files.length === 0
          ? "The PDF was not sent to the service; it lies where the sheet was made."
          : "The PDF and the pictures show the department's own cases; a key with the scope read_all opens them."}
      </p>
    );
  }
  return (
    <p class="downloads">
      {[PDF, HTML, SCORES].map((name) => {
        const file = files.find((each) => each.name === name);
        if (!file) return null;
        return (
          <a key={name} class="button" href={address(file.href)} download={name}>
            {name.split(".").pop()?.toUpperCase()}
            <span class="soft small">{describeBytes(file.bytes)}</span>
          </a>
        );
      })}
    </p>
  );
}

function Pictures({ files }: { files: KeptFile[] }) {
  const pictures = files
    .filter((each) => each.media_type === "image/png")
    .sort((a, b) => a.name.localeCompare(b.name, "en", { numeric: true }));
  if (pictures.length === 0 || !may("read_all")) return null;
  return (
    <section aria-labelledby="worst">
      <h2 id="worst">Where contours differ most</h2>
      <p class="soft">
        Reference green, service red, in the planes where they differ most; the
        patient's right is on the left.
      </p>
      <div class="pictures">
        {pictures.map((each) => (
          <figure key={each.name}>
            <img
              src={address(each.href)}
              alt={`${describePicture(each.name)}: reference and service in three planes`}
            />
            <figcaption>{describePicture(each.name)}</figcaption>
          </figure>
        ))}
      </div>
    </section>
  );
}

function Details({ found }: { found: Commissioning }) {
  return (
    <section aria-labelledby="made-of">
      <h2 id="made-of">What was commissioned</h2>
      {found.sheet.remarks.length > 0 && (
        <ul>
          {found.sheet.remarks.map((each) => (
            <li key={each}>{each}</li>
          ))}
        </ul>
      )}
      <details>
        <summary>Versions and hashes</summary>
        <dl class="hashes">
          {describeOrigin(found.sheet.made_of).map(([name, value]) => (
            <div key={name}>
              <dt>{name}</dt>
              <dd class="mono">{value}</dd>
            </div>
          ))}
          <div>
            <dt>sheet, SHA-256</dt>
            <dd class="mono">{found.sha256}</dd>
          </div>
          <div>
            <dt>signed with the key</dt>
            <dd class="mono">{found.key_id}</dd>
          </div>
        </dl>
      </details>
    </section>
  );
}

function describeOrigin(made: Origin): [string, string][] {
  return [
    ["model, SHA-256", made.model.sha256],
    ["registration parameters, SHA-256", made.registration_parameters_sha256 ?? "none"],
    ["limits, SHA-256", made.limits_sha256],
    ["images sent, SHA-256", made.images_sha256],
    ...Object.entries(made.versions).sort(([a], [b]) => a.localeCompare(b)),
  ];
}

function Others() {
  const all = sheets.value ?? [];
  if (all.length < 2) return null;
  return (
    <section aria-labelledby="all-sheets">
      <h2 id="all-sheets">All commissionings</h2>
      <div class="panel">
        <table class="figures">
          <thead>
            <tr>
              <th scope="col">Made</th>
              <th scope="col">Model</th>
              <th scope="col">Signed by</th>
              <th scope="col">Cases</th>
              <th scope="col">Result</th>
              <th scope="col">
                <span class="hidden">Show</span>
              </th>
            </tr>
          </thead>
          <tbody>
            {all.map((each) => (
              <OtherRow key={each.sha256} each={each} />
            ))}
          </tbody>
        </table>
      </div>
    </section>
  );
}

function OtherRow({ each }: { each: Commissioning }) {
  const { sheet } = each;
  const made = describeTime(sheet.made_at);
  const current = shown.value === each;
  return (
    <tr aria-current={current ? "true" : undefined}>
      <th scope="row">{made}</th>
      <td>
        {sheet.made_of.model.name} {sheet.made_of.model.version}
      </td>
      <td>{sheet.signed_by ?? "–"}</td>
      <td>{sheet.cases}</td>
      <td>
        <Result passed={sheet.passed} />
      </td>
      <td class="actions">
        {current ? (
          <span class="soft">shown</span>
        ) : (
          <button
            type="button"
            class="quiet"
            aria-label={`Show the sheet of ${made}`}
            onClick={() => {
              chosen.value = each.sha256;
              window.scrollTo(0, 0);
            }}
          >
            Show
          </button>
        )}
      </td>
    </tr>
  );
}

function describeTime(text: string): string {
  return new Date(text).toLocaleString([], {
    day: "numeric",
    month: "short",
    year: "numeric",
    hour: "2-digit",
    minute: "2-digit",
    hourCycle: "h23",
  });
}
