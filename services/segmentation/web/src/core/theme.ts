/** Light or dark: what the system says, unless somebody chose otherwise here. */

import { signal } from "@preact/signals";

export type Theme = "system" | "light" | "dark";

const KEY = "hanseg.theme";

/** What was chosen. */
export const theme = signal<Theme>(readChoice());

/** Choose, and remember it in this browser. */
export function chooseTheme(choice: Theme): void {
  theme.value = choice;
  if (choice === "system") localStorage.removeItem(KEY);
  else localStorage.setItem(KEY, choice);
  applyTheme();
}

/** Have the document show the choice. */
export function applyTheme(): void {
  const root = document.documentElement;
  if (theme.value === "system") root.removeAttribute("data-theme");
  else root.dataset.theme = theme.value;
}

function readChoice(): Theme {
  const kept = localStorage.getItem(KEY);
  return kept === "light" || kept === "dark" ? kept : "system";
}
