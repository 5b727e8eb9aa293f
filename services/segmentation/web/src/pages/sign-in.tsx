/** Signing in with an access key. */

import { useSignal } from "@preact/signals";
import { useEffect, useRef } from "preact/hooks";
import { sentenceOf } from "../core/http";
import { signIn } from "../core/session";

/** The form that asks for a key; who has signed in sees what the address shows. */
export function SignInPage() {
  const failure = useSignal<string | null>(null);
  const busy = useSignal(false);
  const field = useRef<HTMLInputElement>(null);
  useEffect(() => field.current?.focus(), []);

  async function submit(event: SubmitEvent): Promise<void> {
    event.preventDefault();
    const key = field.current?.value.trim() ?? "";
    if (!key) {
      failure.value = "Enter your access key.";
      return;
    }
    busy.value = true;
    try {
      await signIn(key);
    } catch (error) {
      failure.value = sentenceOf(error);
      busy.value = false;
      field.current?.select();
    }
  }

  return (
    <section class="sign-in">
      <h1>Sign in</h1>
      <p>
        Enter the access key you were given. It begins with <code>hanseg_</code>.
      </p>
      <form onSubmit={submit}>
        <label for="key">Access key</label>
        <input
          id="key"
          ref={field}
          type="password"
          autocomplete="current-password"
          spellcheck={false}
          aria-invalid={failure.value !== null}
          aria-describedby={failure.value === null ? undefined : "key-failure"}
        />
        {failure.value !== null && (
          <p id="key-failure" class="fault" role="alert">
            {failure.value}
          </p>
        )}
        <button type="submit" class="primary" disabled={busy.value}>
          {busy.value ? "Signing in…" : "Sign in"}
        </button>
      </form>
      <p class="hint">
        You stay signed in for 12 hours. No key? Ask the person who runs the service:
        they make one with <code>hanseg keys create</code>.
      </p>
    </section>
  );
}
