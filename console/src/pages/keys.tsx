// API keys and users, for admins and operators: who may log in, who has used models, and keys to be revoked.
import { useState } from "preact/hooks";

import { get, send } from "../api";
import { count } from "../format";
import { href } from "../router";
import { useResource } from "../resource";
import { Button, Empty, Problem, Status, Time } from "../ui/basics";
import { Table } from "../ui/table";
import type { UsageRow } from "./usage";

type Key = {
  key_id: string;
  name: string;
  user_id: string;
  tenant_id: string;
  scopes: string[];
  created_at: string;
  last_used_at: string | null;
  revoked_at: string | null;
  expires_at: string | null;
};

const LIMIT = 1_000;

export default function Keys() {
  const { data: keys, error, reload } = useResource("keys", () => get<Key[]>("/keys"));
  return (
    <>
      <h1>Keys and users</h1>
      <h2>API keys</h2>
      <Problem text={error} />
      {keys?.length === 0 && <Empty>There is no key.</Empty>}
      {keys !== null && keys.length > 0 && <KeyTable keys={keys} reload={reload} />}
      <p class="muted">
        Create keys on the server with <code>runstead keys create --user NAME --scope SCOPE</code>.
      </p>
      <h2>Users of the last 30 days</h2>
      <Users keys={keys ?? []} />
    </>
  );
}

function stateOf(key: Key): string {
  if (key.revoked_at !== null) return "revoked";
  return key.expires_at !== null && Date.parse(key.expires_at) <= Date.now() ? "expired" : "valid";
}

function KeyTable({ keys, reload }: { keys: Key[]; reload: () => Promise<void> }) {
  const [problem, setProblem] = useState<string | null>(null);
  const revoke = async ({ key_id, name }: Key): Promise<void> => {
    if (!confirm(`Revoke the key ${name} (${key_id})? Its programs are refused from now on.`)) return;
    try {
      setProblem(null);
      await send(`/keys/${encodeURIComponent(key_id)}`, { method: "DELETE" });
      await reload();
    } catch (failure) {
      setProblem((failure as Error).message);
    }
  };
  return (
    <>
      <Problem text={problem} />
      <Table
        label="API keys"
        rows={keys}
        keyOf={(key) => key.key_id}
        columns={[
          { title: "State", of: (key) => <Status value={stateOf(key)} /> },
          { title: "Name", of: (key) => key.name },
          { title: "User", of: (key) => key.user_id },
          { title: "Tenant", of: (key) => key.tenant_id },
          { title: "Scopes", of: (key) => key.scopes.join(" "), isText: true },
          { title: "Created", of: (key) => <Time value={key.created_at} /> },
          {
            title: "Last used",
            of: (key) => (key.last_used_at === null ? "never" : <Time value={key.last_used_at} />),
          },
          { title: "Expires", of: (key) => (key.expires_at === null ? "never" : <Time value={key.expires_at} />) },
          {
            title: "Actions",
            of: (key) =>
              stateOf(key) === "valid" && (
                <Button kind="danger" onClick={() => revoke(key)}>
                  Revoke
                </Button>
              ),
          },
        ]}
      />
    </>
  );
}

type User = { user: string; tenant: string; keys: number; usage: UsageRow | null };

function Users({ keys }: { keys: Key[] }) {
  const asked = { group_by: "tenant,user", limit: LIMIT };
  const { data, error } = useResource("users", () => get<{ data: (UsageRow & { tenant: string })[] }>("/usage", asked));
  const users = new Map<string, User>();
  const at = (tenant: string, user: string): User => {
    const name = JSON.stringify([tenant, user]);
    const found = users.get(name) ?? { user, tenant, keys: 0, usage: null };
    users.set(name, found);
    return found;
  };
  for (const key of keys) if (stateOf(key) === "valid") at(key.tenant_id, key.user_id).keys += 1;
  for (const row of data?.data ?? []) at(row.tenant, row.user ?? "").usage = row;
  return (
    <>
      <Problem text={error} />
      {data !== null && users.size === 0 && <Empty>No user has a key or has used a model.</Empty>}
      {users.size > 0 && (
        <Table
          label="Users"
          rows={[...users.values()]}
          keyOf={({ tenant, user }) => `${tenant} ${user}`}
          columns={[
            { title: "User", of: ({ user }) => user },
            { title: "Tenant", of: ({ tenant }) => tenant },
            { title: "Valid keys", of: (one) => one.keys, isNumber: true },
            { title: "Runs", of: ({ usage }) => count(usage?.runs ?? 0), isNumber: true },
            { title: "Tokens", of: ({ usage }) => count(usage?.total_tokens ?? 0), isNumber: true },
            {
              title: "Cost",
              of: ({ usage }) => (usage === null || usage.usd === null ? "" : `$${usage.usd.toFixed(4)}`),
              isNumber: true,
            },
          ]}
        />
      )}
      <p class="muted">
        What each of them did is in the <a href={href(["audit"])}>audit log</a>.
      </p>
    </>
  );
}
