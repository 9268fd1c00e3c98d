// The pages by the first part of their address. Each is loaded when it is opened for the first time.
import type { ComponentType } from "preact";

type Page = {
  title: string;
  /** In the menu. */
  listed: boolean;
  load: () => Promise<{ default: ComponentType }>;
};

export const PAGES: Record<string, Page> = {
  runs: { title: "Runs", listed: true, load: () => import("./pages/runs") },
  run: { title: "Run", listed: false, load: () => import("./pages/run") },
  fork: { title: "Fork", listed: false, load: () => import("./pages/fork") },
};
