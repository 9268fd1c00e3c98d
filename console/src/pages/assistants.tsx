// The list of assistants: one for each graph, and those with settings of their own.
import { useEffect } from "preact/hooks";

import { readAssistants, useAssistants } from "../model/assistants";
import { href } from "../router";
import { Empty, Id, Time } from "../ui/basics";
import { Table } from "../ui/table";

export default function Assistants() {
  const assistants = useAssistants();
  useEffect(() => {
    readAssistants().catch(() => undefined);
  }, []);
  return (
    <>
      <h1>Assistants</h1>
      {assistants.length === 0 ? (
        <Empty>There is no assistant that you may see.</Empty>
      ) : (
        <Table
          label="Assistants"
          rows={assistants}
          keyOf={(one) => one.assistant_id}
          columns={[
            { title: "Name", of: (one) => <a href={href(["assistant", one.assistant_id])}>{one.name}</a> },
            { title: "Graph", of: (one) => one.graph_id },
            { title: "Version", of: (one) => one.version, isNumber: true },
            { title: "Id", of: (one) => <Id value={one.assistant_id} /> },
            { title: "Updated", of: (one) => <Time value={one.updated_at} /> },
            { title: "Description", of: (one) => one.description ?? "", isText: true },
          ]}
        />
      )}
    </>
  );
}
