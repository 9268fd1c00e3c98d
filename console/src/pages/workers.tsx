// The workers, for operators: slots, leases, lag of the queue, pools of connections, sizes of tables.
import { useState } from "preact/hooks";

import { get } from "../api";
import { bytes, count, counted, duration } from "../format";
import { href } from "../router";
import { useResource } from "../resource";
import { Button, Empty, Facts, Id, Problem, Time } from "../ui/basics";
import { Table } from "../ui/table";

type Pool = { most: number; in_use: number; idle: number; waiting: number };
type Held = {
  run_id: string;
  thread_id: string;
  worker: string;
  attempt: number;
  lease_until: string;
  is_expired: boolean;
};
type TableSize = { name: string; used: number; rows: number | null };
type Workers = {
  server: {
    slots: number;
    slots_in_use: number;
    pools: Record<string, Pool>;
    user_code: { blocks: number; blocked_seconds: number };
  };
  workers: { worker: string; runs: number; expired_leases: number; lease_until: string }[];
  held: Held[];
  queue: Record<string, number>;
  sizes: Record<string, { used: number; free: number }>;
  tables: TableSize[];
};

const POLL_MS = 2_000;
const SHOWN_TABLES = 10;

export default function WorkersPage() {
  const { data, error } = useResource("workers", () => get<Workers>("/workers"), POLL_MS);
  return (
    <>
      <h1>Workers</h1>
      <Problem text={error} />
      {data !== null && (
        <>
          <Summary report={data} />
          <h2>Leases</h2>
          <Leases report={data} />
          <h2>Connections of this server</h2>
          <Pools pools={data.server.pools} />
          <h2>Storage</h2>
          <Storage report={data} />
        </>
      )}
    </>
  );
}

function Summary({ report: { server, queue } }: { report: Workers }) {
  const number = (name: string): number => queue[name] ?? 0;
  return (
    <>
      <dl class="numbers">
        <Number title="slots of this server in use" value={`${server.slots_in_use} of ${server.slots}`} />
        <Number title="runs in execution" value={count(number("running"))} />
        <Number title="due, not begun" value={count(number("due"))} />
        <Number title="expired leases" value={count(number("expired_leases"))} isBad={number("expired_leases") > 0} />
      </dl>
      <Facts
        of={[
          ["Could begin now", count(number("claimable"))],
          ["Oldest of these has waited", duration(number("oldest_claimable") * 1_000)],
          ["Oldest due run has waited", duration(number("oldest_due") * 1_000)],
          ["Delayed", count(number("delayed"))],
          ["Dead letters", count(number("dead_letters"))],
          ["Webhooks not delivered yet", count(number("webhooks_owed"))],
          ["Oldest overdue webhook", duration(number("webhooks_overdue") * 1_000)],
          ["Latest cron is late by", duration(number("cron_lateness") * 1_000)],
          [
            "Code has blocked the event loop",
            `${counted(server.user_code.blocks, "time")}, ${duration(server.user_code.blocked_seconds * 1_000)}`,
          ],
        ]}
      />
    </>
  );
}

function Number({ title, value, isBad = false }: { title: string; value: string; isBad?: boolean }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd class={isBad ? "invalid" : ""}>{value}</dd>
    </div>
  );
}

function Leases({ report: { workers, held } }: { report: Workers }) {
  if (workers.length === 0) return <Empty>No worker holds a run.</Empty>;
  return (
    <>
      <Table
        label="Workers that hold runs"
        rows={workers}
        keyOf={(one) => one.worker}
        columns={[
          { title: "Worker", of: (one) => <code>{one.worker}</code> },
          { title: "Runs", of: (one) => one.runs, isNumber: true },
          { title: "Expired leases", of: (one) => one.expired_leases, isNumber: true },
          { title: "First lease ends", of: (one) => <Time value={one.lease_until} /> },
        ]}
      />
      {held.length > 0 && (
        <Table
          label="Runs that are held"
          rows={held}
          keyOf={(run) => run.run_id}
          columns={[
            { title: "Run", of: (run) => <Id value={run.run_id} link={href(["run", run.thread_id, run.run_id])} /> },
            { title: "Worker", of: (run) => <code>{run.worker}</code> },
            { title: "Attempt", of: (run) => run.attempt, isNumber: true },
            {
              title: "Lease",
              of: (run) => (
                <span class={run.is_expired ? "invalid" : ""}>
                  {run.is_expired ? "expired " : ""}
                  <Time value={run.lease_until} />
                </span>
              ),
            },
          ]}
        />
      )}
    </>
  );
}

function Pools({ pools }: { pools: Record<string, Pool> }) {
  return (
    <Table
      label="Connections"
      rows={Object.entries(pools)}
      keyOf={([name]) => name}
      columns={[
        { title: "Pool", of: ([name]) => name },
        { title: "In use", of: ([, pool]) => pool.in_use, isNumber: true },
        { title: "Idle", of: ([, pool]) => pool.idle, isNumber: true },
        { title: "At most", of: ([, pool]) => pool.most, isNumber: true },
        { title: "Waiting", of: ([, pool]) => pool.waiting, isNumber: true },
      ]}
    />
  );
}

function Storage({ report: { sizes, tables } }: { report: Workers }) {
  const [isWhole, setWhole] = useState(false);
  const hasRows = tables.some((table) => table.rows !== null);
  const shown = Object.entries(sizes).map(([name, { used, free }]): [string, string] => [
    name,
    free > 0 ? `${bytes(used)}, of which ${bytes(free)} are free` : bytes(used),
  ]);
  return (
    <>
      <Facts of={shown} />
      {tables.length === 0 && <Empty>The sizes of tables are not measured.</Empty>}
      {tables.length > 0 && (
        <Table
          label="Sizes of tables"
          rows={isWhole ? tables : tables.slice(0, SHOWN_TABLES)}
          keyOf={(table) => table.name}
          columns={[
            { title: "Table", of: (table) => <code>{table.name}</code> },
            { title: "Size with indexes", of: (table) => bytes(table.used), isNumber: true },
            ...(hasRows
              ? [
                  {
                    title: "Rows (estimate)",
                    of: (table: TableSize) => (table.rows === null ? "" : count(table.rows)),
                    isNumber: true,
                  },
                ]
              : []),
          ]}
        />
      )}
      {tables.length > SHOWN_TABLES && (
        <p>
          <Button onClick={() => setWhole(!isWhole)}>
            {isWhole ? "Show the largest tables only" : `Show all ${tables.length} tables`}
          </Button>
        </p>
      )}
    </>
  );
}
