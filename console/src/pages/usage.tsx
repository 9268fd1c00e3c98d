// Tokens and cost by day, and by model, graph or user.
import { useState } from "preact/hooks";

import { get } from "../api";
import { count } from "../format";
import { useResource } from "../resource";
import { Empty, Facts, Problem } from "../ui/basics";
import { Budgets, useAllowances } from "../ui/allowances";
import { Choice } from "../ui/fields";
import { Table } from "../ui/table";
import { UsageChart } from "./usage-chart";

export type UsageRow = {
  day?: string;
  model?: string;
  graph?: string;
  user?: string;
  caller?: string;
  runs: number;
  calls: number;
  input_tokens: number;
  output_tokens: number;
  total_tokens: number;
  usd: number | null;
};
type UsagePage = {
  from: string;
  to: string;
  data: UsageRow[];
  has_more: boolean;
  total: UsageRow;
  cost: { usd: number | null; unpriced: string[]; prices: string | null };
};

const DIMENSIONS = ["model", "graph", "user", "caller"] as const;
type Dimension = (typeof DIMENSIONS)[number];
const LIMIT = 1_000;

export default function Usage() {
  const [by, setBy] = useState<Dimension>("model");
  const days = useResource("days", () => get<UsagePage>("/usage", { group_by: "day", limit: LIMIT }));
  const parts = useResource(`parts ${by}`, () => get<UsagePage>("/usage", { group_by: by, limit: LIMIT }));
  const allowances = useAllowances();
  const page = days.data;
  return (
    <>
      <h1>Usage</h1>
      <Problem text={days.error ?? parts.error} />
      {page !== null && <Totals page={page} />}
      {page?.data.length === 0 && <Empty>No model was called in these days.</Empty>}
      {page !== null && page.data.length > 0 && <UsageChart from={page.from} to={page.to} rows={page.data} />}
      <h2>Budgets</h2>
      <Budgets budgets={allowances.data?.budgets ?? []} error={allowances.error} />
      <div class="filters">
        <Choice label="Divided by" value={by} onChange={(value) => setBy(value as Dimension)}>
          {DIMENSIONS.map((one) => (
            <option key={one}>{one}</option>
          ))}
        </Choice>
      </div>
      {parts.data !== null && (
        <UsageTable label={`Usage by ${by}`} title={by} rows={parts.data.data} nameOf={(row) => row[by] ?? ""} />
      )}
      {page !== null && (
        <details>
          <summary>By day</summary>
          <UsageTable label="Usage by day" title="day" rows={page.data} nameOf={(row) => row.day ?? ""} />
        </details>
      )}
    </>
  );
}

function Totals({ page: { from, to, total, cost } }: { page: UsagePage }) {
  return (
    <Facts
      of={[
        ["Days (UTC)", `${from} to ${to}`],
        ["Runs", count(total.runs)],
        ["Calls of models", count(total.calls)],
        ["Tokens", `${count(total.input_tokens)} in, ${count(total.output_tokens)} out`],
        ["Cost", cost.usd === null ? "no prices" : `$${cost.usd.toFixed(4)}`],
        ["Without a price", cost.unpriced.join(", ")],
      ]}
    />
  );
}

type TableProps = { label: string; title: string; rows: UsageRow[]; nameOf: (row: UsageRow) => string };

function UsageTable({ label, title, rows, nameOf }: TableProps) {
  return (
    <Table
      label={label}
      rows={rows}
      keyOf={nameOf}
      columns={[
        { title, of: nameOf },
        { title: "Runs", of: (row) => count(row.runs), isNumber: true },
        { title: "Calls", of: (row) => count(row.calls), isNumber: true },
        { title: "Input", of: (row) => count(row.input_tokens), isNumber: true },
        { title: "Output", of: (row) => count(row.output_tokens), isNumber: true },
        { title: "Cost", of: (row) => (row.usd === null ? "" : `$${row.usd.toFixed(4)}`), isNumber: true },
      ]}
    />
  );
}
