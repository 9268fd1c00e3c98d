// The audit log: who did what, for admins and operators.
import { useState } from "preact/hooks";

import { get } from "../api";
import { useResource } from "../resource";
import type { JsonObject } from "../types";
import { Button, Empty, Problem, Time } from "../ui/basics";
import { TextField } from "../ui/fields";
import { JsonView } from "../ui/json";
import { Table } from "../ui/table";

type Entry = {
  seq: number;
  at: string;
  user_id: string;
  role: string | null;
  action: string;
  route: string;
  status: number;
  target: JsonObject;
  details: JsonObject;
};

const LIMIT = 100;

export default function Audit() {
  const [user, setUser] = useState("");
  const [action, setAction] = useState("");
  const [before, setBefore] = useState<number | null>(null);
  const asked = { user_id: user.trim(), action: action.trim(), before_seq: before, limit: LIMIT };
  const { data, error } = useResource(JSON.stringify(asked), () => get<Entry[]>("/audit", asked));
  return (
    <>
      <h1>Audit log</h1>
      <div class="filters">
        <TextField label="User" value={user} onChange={setUser} />
        <TextField label="Action" value={action} onChange={setAction} placeholder="threads.delete" />
        {before !== null && <Button onClick={() => setBefore(null)}>Newest</Button>}
        {data?.length === LIMIT && <Button onClick={() => setBefore(data.at(-1)!.seq)}>Older</Button>}
      </div>
      <Problem text={error} />
      {data?.length === 0 && <Empty>No entry matches.</Empty>}
      {data !== null && data.length > 0 && (
        <Table
          label="Audit log"
          rows={data}
          keyOf={(entry) => String(entry.seq)}
          columns={[
            { title: "Time", of: (entry) => <Time value={entry.at} /> },
            { title: "User", of: (entry) => [entry.user_id, entry.role].filter(Boolean).join(", as ") },
            { title: "Action", of: (entry) => <code>{entry.action}</code> },
            { title: "Answer", of: (entry) => entry.status, isNumber: true },
            {
              title: "Target",
              of: (entry) => <JsonView value={{ ...entry.target, ...entry.details }} depth={0} />,
              isText: true,
            },
          ]}
        />
      )}
    </>
  );
}
