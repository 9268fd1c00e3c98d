// The schedules: their next and last runs; each can be paused, resumed, run now and deleted.
import { useState } from "preact/hooks";

import { call, get, search } from "../api";
import { assistantNames, useAssistants } from "../model/assistants";
import { go } from "../router";
import { useResource } from "../resource";
import type { JsonObject, Run } from "../types";
import { Button, Empty, Problem, Time } from "../ui/basics";
import { Table } from "../ui/table";
import { NewCron } from "./new-cron";

type Cron = {
  cron_id: string;
  assistant_id: string;
  thread_id: string | null;
  schedule: string;
  timezone: string | null;
  payload: JsonObject;
  next_run_date: string | null;
  enabled: boolean;
  last_run_id: string | null;
  last_error: string | null;
};

const POLL_MS = 5_000;
const LIMIT = 100;

export default function Crons() {
  const { data, error, reload } = useResource(
    "crons",
    () => search<Cron>("/runs/crons/search", { limit: LIMIT }),
    POLL_MS,
  );
  const names = assistantNames(useAssistants());
  const [problem, setProblem] = useState<string | null>(null);
  const act = (work: () => Promise<unknown>) => async (): Promise<void> => {
    try {
      setProblem(null);
      await work();
      await reload();
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  return (
    <>
      <h1>Crons</h1>
      <Problem text={error ?? problem} />
      <NewCron onCreated={reload} />
      {data?.items.length === 0 && <Empty>No run is scheduled.</Empty>}
      {data !== null && data.items.length > 0 && (
        <Table
          label="Crons"
          rows={data.items}
          keyOf={(cron) => cron.cron_id}
          columns={[
            {
              title: "Schedule",
              of: (cron) => <code>{[cron.schedule, cron.timezone].filter(Boolean).join(" ")}</code>,
            },
            { title: "Assistant", of: (cron) => names.get(cron.assistant_id) ?? cron.assistant_id },
            {
              title: "Next",
              of: (cron) => (cron.enabled && cron.next_run_date ? <Time value={cron.next_run_date} /> : "paused"),
            },
            { title: "Last", of: (cron) => <Last cron={cron} act={act} /> },
            { title: "Actions", of: (cron) => <Actions cron={cron} act={act} /> },
          ]}
        />
      )}
    </>
  );
}

type RowProps = { cron: Cron; act: (work: () => Promise<unknown>) => () => Promise<void> };

function Last({ cron, act }: RowProps) {
  if (cron.last_error !== null) return <span class="invalid">{cron.last_error}</span>;
  if (cron.last_run_id === null) return <>not yet</>;
  const show = async (): Promise<void> => {
    const { thread_id, run_id } = await get<Run>(`/runs/${cron.last_run_id}`);
    go(["run", thread_id, run_id]);
  };
  return <Button onClick={act(show)}>See the run</Button>;
}

function Actions({ cron, act }: RowProps) {
  const path = `/runs/crons/${cron.cron_id}`;
  return (
    <span class="actions">
      <Button onClick={act(() => call("PATCH", path, { enabled: !cron.enabled }))}>
        {cron.enabled ? "Pause" : "Resume"}
      </Button>
      <Button onClick={act(() => runNow(cron))}>Run now</Button>
      <Button
        kind="danger"
        onClick={act(async () => {
          if (confirm("Delete this cron?")) await call("DELETE", path);
        })}
      >
        Delete
      </Button>
    </span>
  );
}

async function runNow(cron: Cron): Promise<void> {
  const path = cron.thread_id === null ? "/runs" : `/threads/${cron.thread_id}/runs`;
  const { schedule: _, ...payload } = cron.payload;
  const keep = cron.thread_id === null ? { on_completion: "keep" } : {};
  const run = await call<Run>("POST", path, { ...payload, ...keep, assistant_id: cron.assistant_id });
  go(["run", run.thread_id, run.run_id]);
}
