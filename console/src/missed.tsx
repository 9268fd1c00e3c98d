// What happened to runs while the server was away: of those that the user may see, the newest ones.
import { getPage } from "./api";
import type { Absence } from "./connection";
import { counted } from "./format";
import { href } from "./router";
import { useResource } from "./resource";
import type { Run } from "./types";

const LIMIT = 200;
const SHOWN = ["run_id", "status", "created_at", "started_at", "ended_at", "attempt"];

export function Missed({ away }: { away: Absence }) {
  const since = away.from.getTime();
  const { data } = useResource(`missed ${since}`, async () =>
    textOf((await getPage<Run>("/runs", { limit: LIMIT, select: SHOWN })).items, since),
  );
  if (data === null) return null;
  return (
    <p>
      {data} <a href={href(["runs"])}>Runs</a>
    </p>
  );
}

/** A sentence about what began, ended and was taken over since a time. */
export function textOf(runs: Run[], since: number): string {
  const after = (time: string | null): boolean => time !== null && Date.parse(time) >= since;
  const ended = runs.filter((run) => after(run.ended_at));
  const failed = ended.filter((run) => run.status === "error" || run.status === "timeout").length;
  const again = runs.filter((run) => run.ended_at === null && run.attempt > 1 && !after(run.created_at)).length;
  const parts = [
    [runs.filter((run) => after(run.created_at)).length, "began"],
    [ended.length, failed > 0 ? `ended, ${failed} of them with an error` : "ended"],
    [again, again === 1 ? "goes on in a new attempt" : "go on in a new attempt"],
  ] as const;
  const said = parts.filter(([number]) => number > 0).map(([number, verb]) => `${counted(number, "run")} ${verb}`);
  return said.length === 0 ? "No run began or ended since it went away." : `Since it went away: ${said.join("; ")}.`;
}
