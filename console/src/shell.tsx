// The frame around all pages: menu, theme, connection, login.
import type { ComponentType } from "preact";
import { useEffect, useRef, useState } from "preact/hooks";

import { absence, lostAt } from "./connection";
import { get } from "./api";
import { duration } from "./format";
import { Login } from "./login";
import { Missed } from "./missed";
import { PAGES } from "./pages";
import { href, route } from "./router";
import { credentials, isReadOnly, logOut, refusal } from "./session";
import { theme, type Theme } from "./theme";
import { Button, Empty } from "./ui/basics";

const FIRST = "runs";
const LONGEST_FLICKER = 1_500;

export function Shell() {
  if (refusal.value !== null) return <Login />;
  return (
    <>
      <a class="skip" href="#main" onClick={focusMain}>
        Skip to content
      </a>
      <div class="shell">
        <Menu />
        <div class="page">
          <Connection />
          <main id="main" tabIndex={-1}>
            <CurrentPage />
          </main>
        </div>
      </div>
    </>
  );
}

function focusMain(event: Event): void {
  event.preventDefault();
  document.getElementById("main")!.focus();
}

function Menu() {
  const here = route.value.path[0] ?? FIRST;
  const [isOpen, setOpen] = useState(false);
  useEffect(() => setOpen(false), [here]);
  useEffect(() => {
    get<{ is_read_only: boolean }>("/limits").then(
      (found) => (isReadOnly.value = found.is_read_only),
      () => (isReadOnly.value = false),
    );
  }, [credentials.value]);
  return (
    <header class="menu">
      <a class="brand" href={href([FIRST])}>
        <span aria-hidden="true" class="brand-mark" />
        Runstead
      </a>
      <button
        type="button"
        class="menu-toggle"
        aria-expanded={isOpen}
        aria-controls="menu"
        onClick={() => setOpen(!isOpen)}
      >
        Menu
      </button>
      <nav id="menu" aria-label="Pages" class={isOpen ? "open" : ""}>
        {Object.entries(PAGES)
          .filter(([, page]) => page.listed)
          .map(([name, page]) => (
            <a key={name} href={href([name])} aria-current={isPart(here, name) ? "page" : undefined}>
              {page.title}
            </a>
          ))}
        <div class="menu-end">
          <label>
            Theme{" "}
            <select value={theme.value} onChange={(event) => (theme.value = event.currentTarget.value as Theme)}>
              <option value="system">System</option>
              <option value="light">Light</option>
              <option value="dark">Dark</option>
            </select>
          </label>
          {isReadOnly.value && <p class="note">You may only read</p>}
          {credentials.value !== null && <Button onClick={logOut}>Log out</Button>}
        </div>
      </nav>
    </header>
  );
}

/** A page of one thing belongs to the page that lists them: run to runs. */
function isPart(here: string, listed: string): boolean {
  return here === listed || `${here}s` === listed || (here === "fork" && listed === "runs");
}

function Connection() {
  const away = absence.value;
  if (lostAt.value !== null) {
    return (
      <p class="banner banner-lost" role="status">
        The server does not answer since {lostAt.value.toLocaleTimeString()}. This page goes on when it does.
      </p>
    );
  }
  if (away === null || away.until.getTime() - away.from.getTime() < LONGEST_FLICKER) return null;
  return (
    <div class="banner" role="status">
      <div>
        <p>
          The server was away for {duration(away.until.getTime() - away.from.getTime())}, until{" "}
          {away.until.toLocaleTimeString()}. This page has been read again.
        </p>
        <Missed away={away} />
      </div>
      <Button onClick={() => (absence.value = null)}>Dismiss</Button>
    </div>
  );
}

function CurrentPage() {
  const name = route.value.path[0] ?? FIRST;
  const page = PAGES[name];
  const [loaded, setLoaded] = useState<{ name: string; component: ComponentType } | null>(null);
  const isFirst = useRef(true);
  const place = route.value.path.join("/");
  useEffect(() => {
    if (page !== undefined) void page.load().then((module) => setLoaded({ name, component: module.default }));
  }, [name]);
  useEffect(() => {
    document.title = `${page?.title ?? "Not found"} · Runstead`;
    // Readers of the page learn that it has changed; the first page leaves the focus where it is.
    if (!isFirst.current) document.getElementById("main")?.focus();
    isFirst.current = false;
  }, [place]);
  if (page === undefined) return <Empty>There is no page at this address.</Empty>;
  if (loaded?.name !== name) return <p aria-busy="true">Loading…</p>;
  const Page = loaded.component;
  return <Page key={place} />;
}
