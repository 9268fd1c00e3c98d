// The queue: what waits, what runs, what was given up; and the server's own numbers for those who may read them.
import { getPage, send } from "../api";
import { count, duration } from "../format";
import { assistantNames, useAssistants } from "../model/assistants";
import { href } from "../router";
import { useResource } from "../resource";
import type { Run } from "../types";
import { Empty, Id, Problem, Time } from "../ui/basics";
import { Table } from "../ui/table";

const POLL_MS = 2_000;
const SHOWN = 100;
const SELECT = ["run_id", "thread_id", "assistant_id", "created_at", "started_at", "attempt"];

export default function Queue() {
  const { data, error } = useResource("queue", readQueue, POLL_MS);
  const names = assistantNames(useAssistants());
  return (
    <>
      <h1>Queue</h1>
      <Problem text={error} />
      {data !== null && (
        <dl class="numbers">
          <Number title="waiting" value={data.pending.total} link={href(["runs"], { status: "pending" })} />
          <Number title="running" value={data.running.total} link={href(["runs"], { status: "running" })} />
          <Number title="dead letters" value={data.dead.total} link={href(["runs"], { dead_letters: "true" })} />
        </dl>
      )}
      <h2>Running</h2>
      {data !== null && <Runs runs={data.running.items} names={names} since="started_at" label="Running" />}
      <h2>Waiting, the newest first</h2>
      {data !== null && <Runs runs={data.pending.items} names={names} since="created_at" label="Waiting" />}
      <Metrics />
    </>
  );
}

async function readQueue() {
  const [pending, running, dead] = await Promise.all([
    getPage<Run>("/runs", { status: "pending", limit: SHOWN, select: SELECT }),
    getPage<Run>("/runs", { status: "running", limit: SHOWN, select: SELECT }),
    getPage<Run>("/runs", { dead_letters: true, limit: 1, select: ["run_id"] }),
  ]);
  return { pending, running, dead };
}

function Number({ title, value, link }: { title: string; value: number; link: string }) {
  return (
    <div>
      <dt>{title}</dt>
      <dd>
        <a href={link}>{count(value)}</a>
      </dd>
    </div>
  );
}

type RunsProps = { runs: Run[]; names: Map<string, string>; since: "created_at" | "started_at"; label: string };

function Runs({ runs, names, since, label }: RunsProps) {
  if (runs.length === 0) return <Empty>None.</Empty>;
  return (
    <Table
      label={label}
      rows={runs}
      keyOf={(run) => run.run_id}
      columns={[
        { title: "Run", of: (run) => <Id value={run.run_id} link={href(["run", run.thread_id, run.run_id])} /> },
        { title: "Assistant", of: ({ assistant_id }) => names.get(assistant_id) ?? <Id value={assistant_id} /> },
        { title: "Since", of: (run) => <Time value={run[since] ?? run.created_at} /> },
        {
          title: "Waited",
          of: (run) => duration(Date.parse(run.started_at ?? new Date().toISOString()) - Date.parse(run.created_at)),
          isNumber: true,
        },
        { title: "Attempt", of: (run) => run.attempt, isNumber: true },
      ]}
    />
  );
}

type Series = { name: string; value: string };

function Metrics() {
  const { data } = useResource("metrics", readMetrics, POLL_MS);
  if (data === null || data.length === 0) return null;
  return (
    <>
      <h2>This server</h2>
      <Table
        label="Metrics of this server"
        rows={data}
        keyOf={(one) => one.name}
        columns={[
          { title: "Metric", of: (one) => <code>{one.name}</code>, isText: true },
          { title: "Value", of: (one) => one.value, isNumber: true },
        ]}
      />
    </>
  );
}

const OF_THE_QUEUE = /^runstead_\w*(runs|queue|worker|lease|slot|dead|attempt)/;

/** The gauges about runs and workers. Users without the scope for metrics see none. */
async function readMetrics(): Promise<Series[]> {
  const text = await (await send("/metrics")).text();
  const gauges = new Set([...text.matchAll(/^# TYPE (\w+) gauge$/gm)].map((match) => match[1]));
  return [...text.matchAll(/^((\w+)\S*) (\S+)$/gm)]
    .filter(([, , metric]) => gauges.has(metric!) && OF_THE_QUEUE.test(metric!))
    .map(([, name, , value]) => ({ name: name!, value: value! }));
}
