// One assistant: the picture of its graph, its settings, its versions, and the schemas of its graph.
import { useState } from "preact/hooks";

import { get } from "../api";
import type { GraphSchemas } from "../model/input";
import { href, route } from "../router";
import { useResource } from "../resource";
import type { Assistant } from "../types";
import { Facts, Id, Problem, Time } from "../ui/basics";
import { JsonView } from "../ui/json";
import { Tabs } from "../ui/tabs";
import { GraphPicture } from "./assistant/picture";
import { Versions } from "./assistant/versions";

const TABS = ["Graph", "Settings", "Versions", "Schemas"] as const;

export default function AssistantPage() {
  const [, id = ""] = route.value.path;
  const { data, error, reload } = useResource(id, () => get<Assistant>(`/assistants/${id}`));
  const [tab, setTab] = useState<(typeof TABS)[number]>("Graph");
  if (data === null) return error === null ? <p aria-busy="true">Loading…</p> : <Problem text={error} />;
  const { config, context, metadata } = data;
  return (
    <>
      <h1>{data.name}</h1>
      <div class="actions">
        <a class="button" href={href(["playground"], { assistant: id })}>
          Try it
        </a>
        <a class="button" href={href(["runs"], { assistant_id: id })}>
          Its runs
        </a>
      </div>
      <Facts
        of={[
          ["Id", <Id value={id} />],
          ["Graph", data.graph_id],
          ["Version", String(data.version)],
          ["Updated", <Time value={data.updated_at} />],
          ["Description", data.description ?? ""],
        ]}
      />
      <Tabs label="Parts of the assistant" names={TABS} chosen={tab} onChoose={setTab}>
        {tab === "Graph" && <GraphPicture assistantId={id} />}
        {tab === "Settings" && <JsonView value={{ config, context, metadata }} depth={4} />}
        {tab === "Versions" && <Versions assistant={data} reload={reload} />}
        {tab === "Schemas" && <Schemas assistantId={id} />}
      </Tabs>
    </>
  );
}

function Schemas({ assistantId }: { assistantId: string }) {
  const path = `/assistants/${assistantId}/schemas`;
  const { data, error } = useResource(path, () => get<GraphSchemas>(path));
  return (
    <>
      <Problem text={error} />
      {data !== null && <JsonView value={data} depth={2} />}
    </>
  );
}
