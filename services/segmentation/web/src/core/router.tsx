/** A small router: addresses below the page's base, links that stay in the page. */

import { signal } from "@preact/signals";
import type { ComponentChildren } from "preact";

/** The address within the page, beginning with a slash, without the prefix. */
export const path = signal(currentPath());

function basePath(): string {
  return new URL(document.baseURI).pathname;
}

function currentPath(): string {
  const base = basePath();
  const whole = location.pathname;
  if (`${whole}/` === base) return "/"; // a proxy's address may lack the last slash
  return `/${whole.startsWith(base) ? whole.slice(base.length) : whole.slice(1)}`;
}

/** Asked before another address is shown; it calls `leave` if that may be. */
type Guard = (leave: () => void) => void;

let guard: Guard | null = null;

/** Have something asked before the page is left, also by closing it; null ends that. */
export function guardLeaving(wanted: Guard | null): void {
  guard = wanted;
  removeEventListener("beforeunload", warn);
  if (wanted) addEventListener("beforeunload", warn);
}

function warn(event: BeforeUnloadEvent): void {
  event.preventDefault();
}

/** Do what ends with the page that is shown, once whatever must be asked is answered. */
export function leave(act: () => void): void {
  if (guard) guard(act);
  else act();
}

/** Go to an address of the page. */
export function go(to: string, options: { replace?: boolean } = {}): void {
  leave(() => move(to, options));
}

function move(to: string, options: { replace?: boolean }): void {
  const whole = `${basePath()}${to.replace(/^\//, "")}`;
  if (options.replace) history.replaceState(null, "", whole);
  else history.pushState(null, "", whole);
  path.value = currentPath();
  window.scrollTo(0, 0);
}

addEventListener("popstate", () => {
  const wanted = currentPath();
  if (!guard || wanted === path.value) {
    path.value = wanted;
    return;
  }
  const stay = `${basePath()}${path.value.slice(1)}`;
  history.pushState(null, "", stay); // until it is known whether to leave
  guard(() => move(wanted, { replace: true }));
});

/** Return the parts that a pattern such as `/jobs/:id/view` names; null if it is not it. */
export function match(pattern: string, address: string): Record<string, string> | null {
  const wanted = pattern.split("/");
  const given = address.replace(/\/$/, "").split("/");
  if (pattern !== "/" && wanted.length !== given.length) return null;
  if (pattern === "/") return address === "/" ? {} : null;
  const found: Record<string, string> = {};
  for (const [index, part] of wanted.entries()) {
    const value = given[index] ?? "";
    if (part.startsWith(":")) found[part.slice(1)] = decodeURIComponent(value);
    else if (part !== value) return null;
  }
  return found;
}

interface LinkProps {
  to: string;
  children: ComponentChildren;
  class?: string;
  title?: string;
  "aria-current"?: "page" | undefined;
}

/** A link within the page. */
export function Link({ to, children, ...others }: LinkProps) {
  function follow(event: MouseEvent): void {
    if (event.ctrlKey || event.metaKey || event.shiftKey || event.button !== 0) return;
    event.preventDefault();
    go(to);
  }
  return (
    <a {...others} href={`${basePath()}${to.replace(/^\//, "")}`} onClick={follow}>
      {children}
    </a>
  );
}
