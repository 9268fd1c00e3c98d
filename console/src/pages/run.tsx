// One run: what it did and when, its live output, its frames, and the request that created it.
import { useState } from "preact/hooks";

import { get } from "../api";
import { useFrames } from "../model/frames";
import { useRunEvents } from "../model/run-events";
import { route } from "../router";
import { useResource } from "../resource";
import type { Run } from "../types";
import { Problem } from "../ui/basics";
import { JsonView } from "../ui/json";
import { Tabs } from "../ui/tabs";
import { Frames } from "./run/frames";
import { RunHead } from "./run/head";
import { Output } from "./run/output";
import { Timeline } from "./run/timeline";

const POLL_MS = 1_000;
const TABS = ["Timeline", "Output", "Frames", "Request"] as const;

export default function RunPage() {
  const [, threadId = "", runId = ""] = route.value.path;
  const path = `/threads/${threadId}/runs/${runId}`;
  const [isOver, setOver] = useState(false);
  const {
    data: run,
    error,
    reload,
  } = useResource(
    path,
    async () => {
      const found = await get<Run>(path);
      setOver(found.ended_at !== null);
      return found;
    },
    isOver ? 0 : POLL_MS,
  );
  if (run === null) return error === null ? <p aria-busy="true">Loading…</p> : <Problem text={error} />;
  return (
    <>
      <RunHead run={run} reload={reload} />
      <RunTabs run={run} />
    </>
  );
}

function RunTabs({ run }: { run: Run }) {
  const [tab, setTab] = useState<(typeof TABS)[number]>("Timeline");
  const isLive = run.ended_at === null;
  const recorded = useRunEvents(run.thread_id, run.run_id, isLive, run.ended_at);
  const streamed = useFrames(run.thread_id, run.run_id, isLive || tab === "Output" || tab === "Frames");
  return (
    <Tabs label="Parts of the run" names={TABS} chosen={tab} onChoose={setTab}>
      {tab === "Timeline" && <Timeline run={run} recorded={recorded} />}
      {tab === "Output" && <Output run={run} streamed={streamed} />}
      {tab === "Frames" && <Frames streamed={streamed} />}
      {tab === "Request" && <JsonView value={{ metadata: run.metadata, ...run.kwargs }} />}
    </Tabs>
  );
}
