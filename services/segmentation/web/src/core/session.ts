/** Who is signed in: asked once at the start, and again after signing in or out. */

import { computed, signal } from "@preact/signals";
import { ApiError, fetchJson, keepToken, send, sendJson } from "./http";

/** In whose name requests are made; see the API's SessionDocument. */
export interface Session {
  owner: string;
  key: string | null;
  scopes: string[];
  signed_in: boolean;
  csrf_token: string | null;
}

/** Undefined until it is known, null for nobody. */
export const session = signal<Session | null | undefined>(undefined);

/** Whether the caller may do what a scope allows. */
export function may(scope: string): boolean {
  return session.value?.scopes.includes(scope) ?? false;
}

/** Whether jobs of several owners may be shown. */
export const seesAll = computed(() => may("read_all"));

/** Ask the service who is signed in. */
export async function loadSession(): Promise<void> {
  try {
    setSession(await fetchJson<Session>("v1/session"));
  } catch (error) {
    if (!(error instanceof ApiError) || ![401, 403].includes(error.status)) throw error;
    setSession(null);
  }
}

/** Take up a session that was begun in another tab; without one the page stays as it is. */
export async function renewToken(): Promise<void> {
  try {
    setSession(await fetchJson<Session>("v1/session"));
  } catch {
    // who is signed out may sign in elsewhere, and lose nothing here
  }
}

/** Sign in with a key; rejects with the service's sentence if it opens nothing. */
export async function signIn(key: string): Promise<void> {
  setSession(await sendJson<Session>("POST", "v1/session", { key }));
}

/** Sign out; from then on nobody is signed in here. */
export async function signOut(): Promise<void> {
  await send("v1/session", { method: "DELETE" });
  await loadSession();
}

/** Note that the session has ended, so that the page asks for a key. */
export function noteEnd(error: unknown): void {
  if (error instanceof ApiError && error.status === 401) setSession(null);
}

function setSession(found: Session | null): void {
  keepToken(found?.csrf_token ?? null);
  session.value = found;
}
