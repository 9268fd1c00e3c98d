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
  approvals: { title: "Approvals", listed: true, load: () => import("./pages/approvals") },
  threads: { title: "Threads", listed: true, load: () => import("./pages/threads") },
  thread: { title: "Thread", listed: false, load: () => import("./pages/thread") },
  playground: { title: "Playground", listed: true, load: () => import("./pages/playground") },
  assistants: { title: "Assistants", listed: true, load: () => import("./pages/assistants") },
  assistant: { title: "Assistant", listed: false, load: () => import("./pages/assistant") },
  crons: { title: "Crons", listed: true, load: () => import("./pages/crons") },
  store: { title: "Store", listed: true, load: () => import("./pages/store") },
  webhooks: { title: "Webhooks", listed: true, load: () => import("./pages/webhooks") },
  usage: { title: "Usage", listed: true, load: () => import("./pages/usage") },
  queue: { title: "Queue", listed: true, load: () => import("./pages/queue") },
  workers: { title: "Workers", listed: true, load: () => import("./pages/workers") },
  limits: { title: "Limits", listed: true, load: () => import("./pages/limits") },
  keys: { title: "Keys and users", listed: true, load: () => import("./pages/keys") },
  audit: { title: "Audit log", listed: true, load: () => import("./pages/audit") },
  fork: { title: "Fork", listed: false, load: () => import("./pages/fork") },
};
