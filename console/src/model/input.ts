// The input that a graph takes: a message of a chat, fields, or any JSON.
import { get } from "../api";
import type { JsonObject } from "../types";
import { fieldsOf, type SchemaField } from "./schema-fields";

export type InputForm = { kind: "chat" } | { kind: "fields"; fields: SchemaField[] } | { kind: "json" };

export type GraphSchemas = {
  graph_id: string;
  input_schema: JsonObject | null;
  output_schema: JsonObject | null;
  state_schema: JsonObject | null;
  config_schema: JsonObject | null;
  context_schema: JsonObject | null;
};

export async function inputFormOf(assistantId: string): Promise<InputForm> {
  const { input_schema, state_schema } = await get<GraphSchemas>(`/assistants/${assistantId}/schemas`);
  const fields = fieldsOf(input_schema ?? state_schema);
  if (fields === null) return { kind: "json" };
  return fields.some((field) => field.name === "messages") ? { kind: "chat" } : { kind: "fields", fields };
}
