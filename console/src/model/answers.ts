// Answers to interrupts: the requests of LangChain's HumanInTheLoopMiddleware, forms of a schema, and any other value.
import { call } from "../api";
import type { Interrupt, JsonObject } from "../types";

export type Decision = "approve" | "edit" | "reject" | "respond";

const USUAL: Decision[] = ["approve", "edit", "reject"];

export type ActionRequest = { name: string; args: JsonObject; description?: string };
export type Review = { actions: ActionRequest[]; allowed: Decision[][] };

/** The actions that an interrupt asks to review; null for any other question. */
export function reviewOf({ value }: Interrupt): Review | null {
  const asked = value as {
    action_requests?: ActionRequest[];
    review_configs?: { action_name: string; allowed_decisions: Decision[] }[];
  };
  if (typeof value !== "object" || value === null || !Array.isArray(asked.action_requests)) return null;
  const allowed = asked.action_requests.map(
    (action) => asked.review_configs?.find((config) => config.action_name === action.name)?.allowed_decisions ?? USUAL,
  );
  return { actions: asked.action_requests, allowed };
}

export type Given = { decision: Decision; args: unknown; message: string };

/** The answer that the middleware expects: one decision for each action, in their order. */
export function answerOf(actions: ActionRequest[], given: Given[]): unknown {
  return {
    decisions: actions.map((action, place) => {
      const { decision, args, message } = given[place]!;
      if (decision === "edit") return { type: "edit", edited_action: { name: action.name, args } };
      if (decision === "approve") return { type: "approve" };
      return message ? { type: decision, message } : { type: decision };
    }),
  };
}

/** Another answer was faster. */
export class AnsweredAlready extends Error {}

type Reply = { type: "success"; result: { run_id: string } } | { type: "error"; error: string; message: string };

/** Answers interrupts of one thread by their ids, and returns the run that continues. */
export async function respond(threadId: string, answers: Map<string, unknown>): Promise<string> {
  const responses = [...answers].map(([interrupt_id, response]) => ({ interrupt_id, response }));
  const body = { id: 1, method: "input.respond", params: { responses } };
  const reply = await call<Reply>("POST", `/threads/${threadId}/commands`, body);
  if (reply.type === "success") return reply.result.run_id;
  if (reply.error === "no_such_interrupt") throw new AnsweredAlready("Another answer was faster. Yours was not used.");
  throw new Error(reply.message);
}
