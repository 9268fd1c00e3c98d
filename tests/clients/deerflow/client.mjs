// What DeerFlow's frontend does around the SDK: it leaves a stream at a `gap`, loads the thread's state, and joins again
// from the id that the gap names, at most five times. Written from its behaviour, for version 1.6.0 of the SDK.
const TERMINAL = new Set(["success", "error", "timeout", "interrupted"]);
const MOST_RECOVERIES = 5;

/** The payload, if it is what the frontend accepts; it throws otherwise, and its page stays dead. */
export function checkedGap(data) {
  const isText = (value) => typeof value === "string";
  const isValid =
    data?.code === "stream_replay_gap" &&
    data.recovery === "reload_durable_state" &&
    [data.run_id, data.earliest_available_event_id, data.latest_available_event_id].every(isText) &&
    (data.requested_event_id === null || isText(data.requested_event_id));
  if (!isValid) throw new Error(`Invalid stream replay gap payload: ${JSON.stringify(data)}`);
  return data;
}

/** A client of the SDK's, whose streams recover from gaps. */
export function recovering(client) {
  const stream = client.runs.stream.bind(client.runs);
  const joinStream = client.runs.joinStream.bind(client.runs);

  async function* recovered(threadId, parts, runOf, join) {
    for (let recoveries = 0; ; recoveries += 1) {
      let gap;
      for await (const part of parts) {
        if (part.event === "gap") {
          gap = checkedGap(part.data);
          break;
        }
        yield part;
      }
      if (!gap) return;
      if (gap.run_id !== (runOf() ?? gap.run_id)) throw new Error("the gap is another run's");
      if (recoveries === MOST_RECOVERIES) throw new Error("gaps without end");
      yield { event: "custom", data: { type: "stream_replay_gap", ...gap } };
      const { values } = await client.threads.getState(threadId);
      if (values) yield { event: "values", data: values };
      parts = join(gap.run_id, gap.latest_available_event_id);
    }
  }

  // The frontend leaves `streamResumable` out of what it sends.
  client.runs.stream = (threadId, assistantId, { streamResumable, ...payload }) => {
    let runId;
    const onRunCreated = (run) => {
      runId = run.run_id;
      payload.onRunCreated?.(run);
    };
    const { signal, streamMode } = payload;
    const join = (run, lastEventId) => joinStream(threadId, run, { lastEventId, signal, streamMode });
    return recovered(threadId, stream(threadId, assistantId, { ...payload, onRunCreated }), () => runId, join);
  };

  client.runs.joinStream = async function* (threadId, runId, options) {
    if (TERMINAL.has((await client.runs.get(threadId, runId)).status)) return;
    const join = (run, lastEventId) => joinStream(threadId, run, { ...options, lastEventId });
    yield* recovered(threadId, join(runId, options?.lastEventId), () => runId, join);
  };
  return client;
}
