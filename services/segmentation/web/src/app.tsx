/** The frame of the page: header, navigation, and what its address shows. */

import { useSignal } from "@preact/signals";
import type { ComponentType } from "preact";
import { useEffect } from "preact/hooks";
import { sentenceOf } from "./core/http";
import { go, Link, leave, match, path } from "./core/router";
import { ROUTES, type Route, type RouteProps } from "./core/routes";
import { loadSession, session, signOut } from "./core/session";
import { chooseTheme, type Theme, theme } from "./core/theme";
import { SignInPage } from "./pages/sign-in";
import { Notices, notify } from "./parts/notices";

/** The whole page. */
export function App() {
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    loadSession().catch((error: unknown) => {
      failure.value = sentenceOf(error);
    });
  }, []);
  if (failure.value !== null) return <Failure sentence={failure.value} />;
  if (session.value === undefined) return <p class="loading">Loading…</p>;
  return (
    <>
      <Header />
      <Notices />
      <main id="content" tabIndex={-1}>
        {session.value === null ? <SignInPage /> : <Shown />}
      </main>
    </>
  );
}

function Header() {
  const links = session.value ? ROUTES.filter((each) => each.label) : [];
  return (
    <header class="top">
      <a class="skip" href={`${location.pathname}#content`}>
        Skip to the content
      </a>
      <Link to="/" class="brand">
        <BrandMark />
        <span>Contouring</span>
      </Link>
      <nav aria-label="Pages">
        {links.map((each) => (
          <Link
            key={each.pattern}
            to={each.pattern}
            aria-current={match(each.pattern, path.value) ? "page" : undefined}
          >
            {each.label}
          </Link>
        ))}
      </nav>
      <span class="spread" />
      <ThemeSwitch />
      <Account />
    </header>
  );
}

function BrandMark() {
  return (
    <svg class="mark" viewBox="0 0 32 32" aria-hidden="true">
      <path d="M16 3C9.500 3 5 8 5 14c0 5 1 6 3 10 1 4 4 5 8 5s7-1 8-5c2-4 3-5 3-10 0-6-4.500-11-11-11z" />
      <ellipse cx="16" cy="17" rx="4" ry="6" />
    </svg>
  );
}

function Account() {
  const who = session.value;
  if (!who?.signed_in) return null;
  async function end(): Promise<void> {
    try {
      await signOut();
      go("/");
    } catch (error) {
      notify("error", sentenceOf(error));
    }
  }
  return (
    <span class="account">
      <span title={`Key ${who.key}`}>{who.owner}</span>
      <button type="button" class="quiet" onClick={() => leave(end)}>
        Sign out
      </button>
    </span>
  );
}

function ThemeSwitch() {
  return (
    <label class="theme">
      <span class="hidden">Colours</span>
      <select
        value={theme.value}
        onChange={(event) => chooseTheme(event.currentTarget.value as Theme)}
      >
        <option value="system">Colours: auto</option>
        <option value="light">Colours: light</option>
        <option value="dark">Colours: dark</option>
      </select>
    </label>
  );
}

function Shown() {
  for (const route of ROUTES) {
    const parts = match(route.pattern, path.value);
    if (parts) return <Loaded key={route.pattern} route={route} parts={parts} />;
  }
  if (path.value === "/sign-in") {
    return <Elsewhere />;
  }
  return (
    <section class="empty">
      <h1>There is nothing here</h1>
      <p>
        No page has this address. <Link to="/">Go to the worklist</Link>.
      </p>
    </section>
  );
}

function Elsewhere() {
  useEffect(() => go("/", { replace: true }), []);
  return null;
}

function Loaded(props: { route: Route; parts: RouteProps }) {
  const shown = useSignal<ComponentType<RouteProps> | null>(null);
  const failure = useSignal<string | null>(null);
  useEffect(() => {
    props.route.load().then(
      (module) => {
        shown.value = module.default;
      },
      () => {
        failure.value =
          "This part of the page could not be loaded. The service may have been " +
          "updated meanwhile: load the page again.";
      },
    );
  }, []);
  if (failure.value !== null) return <Failure sentence={failure.value} />;
  const Component = shown.value;
  return Component ? <Component {...props.parts} /> : <p class="loading">Loading…</p>;
}

function Failure(props: { sentence: string }) {
  return (
    <section class="empty" role="alert">
      <h1>That did not work</h1>
      <p>{props.sentence}</p>
      <button type="button" onClick={() => location.reload()}>
        Load again
      </button>
    </section>
  );
}
