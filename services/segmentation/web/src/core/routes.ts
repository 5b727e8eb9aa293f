/** The page's addresses and what shows each; a module is loaded when it is needed. */

import type { ComponentType } from "preact";

/** What a shown address is given: the named parts of its pattern. */
export type RouteProps = Record<string, string>;

/** An address of the page. */
export interface Route {
  pattern: string;
  /** The name in the navigation; none for what is reached otherwise. */
  label?: string;
  load: () => Promise<{ default: ComponentType<RouteProps> }>;
}

/** Add a page here, and its address to PAGES in the API's `http/origin.py`. */
export const ROUTES: Route[] = [
  { pattern: "/", label: "Worklist", load: () => import("../worklist/page") },
  {
    pattern: "/reading-room",
    label: "Reading room",
    load: () => import("../reading-room/page"),
  },
  {
    pattern: "/commissioning",
    label: "Commissioning",
    load: () => import("../commissioning/page"),
  },
  { pattern: "/jobs/:id/view", load: () => import("../viewer/page") },
];
