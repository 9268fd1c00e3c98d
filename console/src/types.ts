// Objects of the API, as far as the console reads them.
export type Json = null | boolean | number | string | Json[] | { [name: string]: Json };
export type JsonObject = { [name: string]: Json };

export type RunStatus = "pending" | "running" | "success" | "error" | "timeout" | "interrupted";

export type Run = {
  run_id: string;
  thread_id: string;
  assistant_id: string;
  status: RunStatus;
  metadata: JsonObject;
  created_at: string;
  started_at: string | null;
  ended_at: string | null;
  attempt: number;
  error: string | null;
  failure: JsonObject | null;
  dead_letter: boolean;
  cancel_reason: string | null;
  multitask_strategy: string;
  completion: Completion | null;
  kwargs: RunKwargs;
};

export type RunKwargs = {
  input: Json;
  command: JsonObject | null;
  config: JsonObject;
  context: JsonObject;
  stream_mode: string[];
} & JsonObject;

export type Completion = {
  total_input_tokens: number;
  total_output_tokens: number;
  total_tokens: number;
  llm_call_count: number;
  last_ai_message: string | null;
  first_human_message: string | null;
};

export type RunEvent = {
  seq: number;
  event_type: string;
  category: "lifecycle" | "trace" | "message";
  content: JsonObject;
  metadata: { attempt?: number; caller?: string };
  created_at: string;
};

export type Interrupt = { id: string; value: Json; response_schema?: JsonObject };

export type Thread = {
  thread_id: string;
  status: "idle" | "busy" | "interrupted" | "error";
  metadata: JsonObject;
  created_at: string;
  updated_at: string;
  values: JsonObject | null;
  error: JsonObject | null;
  interrupts: Record<string, Interrupt[]>;
};

export type Checkpoint = { checkpoint_id: string; checkpoint_ns?: string };

export type ThreadState = {
  values: JsonObject;
  next: string[];
  tasks: { id: string; name: string; error: string | null; interrupts: Interrupt[] }[];
  checkpoint: Checkpoint | null;
  parent_checkpoint: Checkpoint | null;
  metadata: { step?: number; source?: string; run_id?: string } & JsonObject;
  created_at: string | null;
};

export type Assistant = {
  assistant_id: string;
  graph_id: string;
  name: string;
  description: string | null;
  version: number;
  config: JsonObject;
  context: JsonObject;
  metadata: JsonObject;
  created_at: string;
  updated_at: string;
};

export type Approval = {
  approval_id: string;
  state: "open" | "answered" | "expired" | "withdrawn";
  thread_id: string;
  graph_id: string;
  interrupt_id: string;
  question: Json;
  response_schema: JsonObject | null;
  created_at: string;
  updated_at: string;
  deadline_at: string | null;
  delegate: string | null;
  answer_run_id: string | null;
  default?: Json;
};

export type ApprovalEvent = { number: number; kind: string; at: string; user_id: string | null; details: JsonObject };
