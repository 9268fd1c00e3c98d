// The list of threads, live, with filters by status and metadata.
import { useState } from "preact/hooks";

import { search } from "../api";
import { count } from "../format";
import { href, route, setQuery } from "../router";
import { useResource } from "../resource";
import type { Thread } from "../types";
import { Empty, Id, Pager, Problem, Status, Time } from "../ui/basics";
import { Choice, parsed, TextField } from "../ui/fields";
import { Table } from "../ui/table";

const LIMIT = 50;
const POLL_MS = 3_000;
const STATUSES = ["idle", "busy", "interrupted", "error"];

export default function Threads() {
  const { query } = route.value;
  const [status, metadata, offset] = [
    query.get("status") ?? "",
    query.get("metadata") ?? "",
    Number(query.get("offset") ?? 0),
  ];
  const body = {
    status: status || null,
    metadata: parsed(metadata).value,
    limit: LIMIT,
    offset,
    select: ["thread_id", "status", "metadata", "created_at", "updated_at"],
  };
  const { data, error } = useResource(JSON.stringify(body), () => search<Thread>("/threads/search", body), POLL_MS);
  return (
    <>
      <div class="title">
        <h1>Threads</h1>
        {data !== null && <span class="muted">{count(data.total)} found, live</span>}
      </div>
      <Filters status={status} metadata={metadata} />
      <Problem text={error} />
      {data?.items.length === 0 && <Empty>No thread matches. Begin one in the playground.</Empty>}
      {data !== null && data.items.length > 0 && (
        <Table
          label="Threads"
          rows={data.items}
          keyOf={(thread) => thread.thread_id}
          columns={[
            { title: "Status", of: (thread) => <Status value={thread.status} /> },
            { title: "Thread", of: ({ thread_id }) => <Id value={thread_id} link={href(["thread", thread_id])} /> },
            { title: "Title", of: ({ metadata }) => String(metadata.title ?? ""), isText: true },
            { title: "Graph", of: ({ metadata }) => String(metadata.graph_id ?? "") },
            { title: "Updated", of: (thread) => <Time value={thread.updated_at} /> },
            { title: "Created", of: (thread) => <Time value={thread.created_at} /> },
          ]}
        />
      )}
      {data !== null && (
        <Pager offset={offset} limit={LIMIT} total={data.total} onMove={(to) => setQuery({ offset: String(to) })} />
      )}
    </>
  );
}

function Filters({ status, metadata }: { status: string; metadata: string }) {
  const [text, setText] = useState(metadata);
  const { problem } = parsed(text);
  const submit = (event: Event): void => {
    event.preventDefault();
    if (problem === null) setQuery({ metadata: text, offset: "" });
  };
  return (
    <form class="filters" onSubmit={submit} aria-label="Filters">
      <Choice label="Status" value={status} onChange={(value) => setQuery({ status: value, offset: "" })}>
        <option value="">any</option>
        {STATUSES.map((one) => (
          <option key={one}>{one}</option>
        ))}
      </Choice>
      <TextField
        label="Metadata"
        value={text}
        onChange={setText}
        placeholder='{"customer": "acme"}'
        hint={problem ?? ""}
      />
      <button type="submit">Filter</button>
    </form>
  );
}
