// The limits and budgets of the user, each with the part of it that is used.
import { get } from "../api";
import { count } from "../format";
import { useResource } from "../resource";
import { Empty, Problem, Time } from "./basics";
import { Table } from "./table";

type Limit = {
  kind: "requests" | "streams" | "runs" | "queued_runs";
  scope: "user" | "tenant";
  limit: number;
  seconds: number | null;
  used: number | null;
};
type Budget = {
  per: string[];
  unit: "tokens" | "usd";
  graph_id: string | null;
  limit: number;
  used: number | null;
  reserved: number | null;
  resets_at: string | null;
  on_exceeded: "pause" | "stop";
  warn_at: number;
};
type Allowances = { user_id: string; tenant_id: string; limits: Limit[]; budgets: Budget[] };

const POLL_MS = 5_000;
const NOUNS = {
  requests: "requests",
  streams: "open streams",
  runs: "runs in flight",
  queued_runs: "queued runs",
};

export function useAllowances() {
  return useResource("limits", () => get<Allowances>("/limits"), POLL_MS);
}

export function Limits({ limits }: { limits: Limit[] }) {
  if (limits.length === 0) return <Empty>No limit is set: requests, streams and runs are not counted.</Empty>;
  return (
    <Table
      label="Limits"
      rows={limits}
      keyOf={({ kind, scope }) => `${kind} ${scope}`}
      columns={[
        { title: "Of", of: ({ kind }) => NOUNS[kind] },
        { title: "For each", of: ({ scope }) => scope },
        { title: "At most", of: ({ limit }) => count(limit), isNumber: true },
        { title: "Within", of: ({ seconds }) => (seconds === null ? "" : `${seconds} s`), isNumber: true },
        { title: "Used", of: (one) => <Used of={one} name={NOUNS[one.kind]} amount={count} /> },
      ]}
    />
  );
}

export function Budgets({ budgets, error = null }: { budgets: Budget[]; error?: string | null }) {
  return (
    <>
      <Problem text={error} />
      {budgets.length === 0 && error === null && <Empty>No budget is set for models.</Empty>}
      {budgets.length > 0 && (
        <Table
          label="Budgets"
          rows={budgets}
          keyOf={(one) => `${one.per.join(" ")} ${one.unit} ${one.graph_id} ${one.limit}`}
          columns={[
            { title: "For each", of: (one) => [...one.per.map((name) => named(name, one))].join(", ") },
            { title: "At most", of: (one) => amountOf(one)(one.limit), isNumber: true },
            {
              title: "Used",
              of: (one) => <Used of={one} name={`budget per ${one.per.join(" and ")}`} amount={amountOf(one)} />,
            },
            { title: "In flight", of: (one) => (one.reserved ? amountOf(one)(one.reserved) : ""), isNumber: true },
            { title: "Begins anew", of: (one) => one.resets_at !== null && <Time value={one.resets_at} /> },
            { title: "When used up", of: (one) => (one.on_exceeded === "pause" ? "asks a human" : "the run fails") },
          ]}
        />
      )}
    </>
  );
}

function named(scope: string, { graph_id }: Budget): string {
  return scope === "graph" && graph_id !== null ? `graph ${graph_id}` : scope;
}

function amountOf({ unit }: Budget): (amount: number) => string {
  return (amount) => (unit === "usd" ? `$${amount.toFixed(2)}` : `${count(amount)} tokens`);
}

type UsedProps = {
  of: { used: number | null; limit: number; warn_at?: number };
  name: string;
  amount: (value: number) => string;
};

/** A bar with its number. What is counted elsewhere has none. */
function Used({ of: { used, limit, warn_at = 0.8 }, name, amount }: UsedProps) {
  if (used === null) return <span class="muted">not counted here</span>;
  const part = limit === 0 ? 1 : Math.min(1, used / limit);
  const state = part >= 1 ? "meter-full" : part >= warn_at ? "meter-high" : "";
  return (
    <span class="used">
      <span
        class={`meter ${state}`}
        role="meter"
        aria-label={`Used part of ${name}`}
        aria-valuemin={0}
        aria-valuemax={100}
        aria-valuenow={Math.round(part * 100)}
      >
        <span style={{ width: `${part * 100}%` }} />
      </span>
      {amount(used)} ({Math.round(part * 100)} %)
    </span>
  );
}
