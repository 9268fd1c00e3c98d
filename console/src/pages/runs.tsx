// The list of runs, live, with filters that are kept in the address and can be saved.
import { useState } from "preact/hooks";

import { getPage } from "../api";
import { count, duration, preview } from "../format";
import { assistantNames, useAssistants } from "../model/assistants";
import { href, route, setQuery } from "../router";
import { useResource } from "../resource";
import type { Run } from "../types";
import { Button, Empty, Id, Pager, Problem, Status, Time } from "../ui/basics";
import { Choice, TextField } from "../ui/fields";
import { Table } from "../ui/table";
import { NO_FILTERS, SavedFilters } from "./saved-filters";

const LIMIT = 50;
const POLL_MS = 2_000;
const STATUSES = ["pending", "running", "success", "error", "timeout", "interrupted"];
const FILTERS = ["status", "assistant_id", "thread_id", "metadata", "tag", "error"] as const;
const SHOWN = [
  "run_id",
  "thread_id",
  "assistant_id",
  "created_at",
  "status",
  "attempt",
  "started_at",
  "ended_at",
  "error",
  "dead_letter",
  "completion",
];

export default function Runs() {
  const { query } = route.value;
  const offset = Number(query.get("offset") ?? 0);
  const where = Object.fromEntries(FILTERS.map((name) => [name, query.get(name) ?? ""]));
  const isDead = query.get("dead_letters") === "true";
  const asked = { ...where, dead_letters: isDead || undefined, limit: LIMIT, offset, select: SHOWN };
  const { data, error } = useResource(JSON.stringify(asked), () => getPage<Run>("/runs", asked), POLL_MS);
  const names = assistantNames(useAssistants());
  return (
    <>
      <div class="title">
        <h1>Runs</h1>
        {data !== null && <span class="muted">{count(data.total)} found, live</span>}
      </div>
      <Filters where={where} isDead={isDead} />
      <Problem text={error} />
      {data?.items.length === 0 && <Empty>No run matches. Start one in the playground, or with a client.</Empty>}
      {data !== null && data.items.length > 0 && <RunTable runs={data.items} names={names} />}
      {data !== null && (
        <Pager offset={offset} limit={LIMIT} total={data.total} onMove={(to) => setQuery({ offset: String(to) })} />
      )}
    </>
  );
}

function Filters({ where, isDead }: { where: Record<string, string>; isDead: boolean }) {
  const assistants = useAssistants();
  const [metadata, setMetadata] = useState(where.metadata ?? "");
  const [threadId, setThreadId] = useState(where.thread_id ?? "");
  const [tag, setTag] = useState(where.tag ?? "");
  const [error, setError] = useState(where.error ?? "");
  const set = (name: string, value: string): void => setQuery({ [name]: value, offset: "" });
  const submit = (event: Event): void => {
    event.preventDefault();
    setQuery({ metadata, thread_id: threadId.trim(), tag: tag.trim(), error: error.trim(), offset: "" });
  };
  const status = isDead ? "dead" : (where.status ?? "");
  return (
    <form class="filters" onSubmit={submit} aria-label="Filters">
      <Choice
        label="Status"
        value={status}
        onChange={(value) =>
          setQuery({ status: value === "dead" ? "" : value, dead_letters: value === "dead" ? "true" : "", offset: "" })
        }
      >
        <option value="">any</option>
        {STATUSES.map((one) => (
          <option key={one}>{one}</option>
        ))}
        <option value="dead">dead letter</option>
      </Choice>
      <Choice
        label="Graph or assistant"
        value={where.assistant_id ?? ""}
        onChange={(value) => set("assistant_id", value)}
      >
        <option value="">any</option>
        {assistants.map((one) => (
          <option key={one.assistant_id} value={one.assistant_id}>
            {one.name === one.graph_id ? one.graph_id : `${one.name} (${one.graph_id})`}
          </option>
        ))}
      </Choice>
      <TextField label="Thread" value={threadId} onChange={setThreadId} placeholder="id" />
      <TextField label="Tag" value={tag} onChange={setTag} />
      <TextField label="Error" value={error} onChange={setError} placeholder="ValueError" />
      <TextField label="Metadata" value={metadata} onChange={setMetadata} placeholder='{"customer": "acme"}' />
      <button type="submit">Filter</button>
      <Button onClick={() => clear(setMetadata, setThreadId, setTag, setError)}>Clear</Button>
      <SavedFilters />
    </form>
  );
}

function clear(...fields: ((value: string) => void)[]): void {
  for (const field of fields) field("");
  setQuery(NO_FILTERS);
}

function RunTable({ runs, names }: { runs: Run[]; names: Map<string, string> }) {
  return (
    <Table
      label="Runs"
      rows={runs}
      keyOf={(run) => run.run_id}
      columns={[
        { title: "Status", of: (run) => <State run={run} /> },
        { title: "Run", of: (run) => <Id value={run.run_id} link={href(["run", run.thread_id, run.run_id])} /> },
        { title: "Assistant", of: ({ assistant_id }) => names.get(assistant_id) ?? <Id value={assistant_id} /> },
        { title: "Created", of: (run) => <Time value={run.created_at} /> },
        { title: "Duration", of: lasted, isNumber: true },
        { title: "Tokens", of: ({ completion }) => (completion ? count(completion.total_tokens) : ""), isNumber: true },
        { title: "Text", of: textOf, isText: true },
      ]}
    />
  );
}

function State({ run }: { run: Run }) {
  return (
    <>
      <Status value={run.status} />
      {run.attempt > 1 && <span class="note">attempt {run.attempt}</span>}
      {run.dead_letter && <span class="note">dead letter</span>}
    </>
  );
}

function textOf(run: Run) {
  if (run.error !== null) return <span class="clamped invalid">{preview(run.error, 120)}</span>;
  const text = run.completion?.last_ai_message ?? run.completion?.first_human_message ?? "";
  return <span class="clamped">{preview(text, 120)}</span>;
}

function lasted(run: Run): string {
  if (run.started_at === null) return "";
  return duration((run.ended_at === null ? Date.now() : Date.parse(run.ended_at)) - Date.parse(run.started_at));
}
