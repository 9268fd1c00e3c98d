// The deliveries of webhooks, with their attempts; each can be sent again.
import { useState } from "preact/hooks";

import { call, get, getPage } from "../api";
import { href, route, setQuery } from "../router";
import { useResource } from "../resource";
import { Button, Empty, Id, Pager, Problem, Status, Time } from "../ui/basics";
import { Choice } from "../ui/fields";
import { JsonView } from "../ui/json";
import { Table } from "../ui/table";

type Delivery = {
  delivery_id: string;
  run_id: string;
  thread_id: string;
  url: string;
  status: string;
  attempt_count: number;
  created_at: string;
  next_attempt_at: string | null;
  attempts?: unknown[];
};

const POLL_MS = 3_000;
const LIMIT = 50;
const STATUSES = ["pending", "delivered", "failed"];

export default function Webhooks() {
  const { query } = route.value;
  const [status, offset] = [query.get("status") ?? "", Number(query.get("offset") ?? 0)];
  const asked = { status, offset, limit: LIMIT };
  const { data, error, reload } = useResource(
    JSON.stringify(asked),
    () => getPage<Delivery>("/webhooks/deliveries", asked),
    POLL_MS,
  );
  const [chosen, setChosen] = useState<string | null>(null);
  return (
    <>
      <h1>Webhooks</h1>
      <div class="filters">
        <Choice label="Status" value={status} onChange={(value) => setQuery({ status: value, offset: "" })}>
          <option value="">any</option>
          {STATUSES.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </Choice>
      </div>
      <Problem text={error} />
      {data?.items.length === 0 && <Empty>No run has notified a webhook.</Empty>}
      {data !== null && data.items.length > 0 && (
        <Table
          label="Deliveries"
          rows={data.items}
          keyOf={(one) => one.delivery_id}
          columns={[
            { title: "Status", of: (one) => <Status value={one.status} /> },
            { title: "URL", of: (one) => one.url, isText: true },
            { title: "Run", of: (one) => <Id value={one.run_id} link={href(["run", one.thread_id, one.run_id])} /> },
            { title: "Attempts", of: (one) => one.attempt_count, isNumber: true },
            { title: "Created", of: (one) => <Time value={one.created_at} /> },
            { title: "Next", of: (one) => one.next_attempt_at && <Time value={one.next_attempt_at} /> },
            { title: "Actions", of: (one) => <Button onClick={() => setChosen(one.delivery_id)}>See attempts</Button> },
          ]}
        />
      )}
      {data !== null && (
        <Pager offset={offset} limit={LIMIT} total={data.total} onMove={(to) => setQuery({ offset: String(to) })} />
      )}
      {chosen !== null && <Attempts key={chosen} id={chosen} onSent={reload} />}
    </>
  );
}

function Attempts({ id, onSent }: { id: string; onSent: () => Promise<void> }) {
  const path = `/webhooks/deliveries/${id}`;
  const { data, error, reload } = useResource(path, () => get<Delivery>(path), POLL_MS);
  const [problem, setProblem] = useState<string | null>(null);
  const send = async (): Promise<void> => {
    try {
      setProblem(null);
      await call("POST", `${path}/redeliver`);
      await Promise.all([reload(), onSent()]);
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  return (
    <section class="card" aria-label="Attempts">
      <h2>
        Delivery <Id value={id} />
      </h2>
      <Button onClick={send}>Send again</Button>
      <Problem text={error ?? problem} />
      {data !== null && <JsonView value={data.attempts} depth={3} />}
    </section>
  );
}
