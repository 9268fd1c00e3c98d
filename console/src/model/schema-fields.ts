// JSON schemas as fields of a form, as far as a form is better than JSON.
import type { Json, JsonObject } from "../types";

export type FieldKind = "text" | "number" | "integer" | "boolean" | "choice" | "json";

export type SchemaField = {
  name: string;
  label: string;
  hint: string;
  kind: FieldKind;
  isRequired: boolean;
  choices: Json[];
  initial: Json | undefined;
};

/** The fields of an object's schema; null for any other schema, which is answered as JSON. */
export function fieldsOf(schema: JsonObject | null | undefined): SchemaField[] | null {
  if (!schema) return null;
  const root = resolved(schema, schema);
  if (root.type !== "object" || !isObject(root.properties)) return null;
  const required = new Set(Array.isArray(root.required) ? root.required : []);
  return Object.entries(root.properties).map(([name, one]) =>
    fieldOf(name, resolved(one as JsonObject, schema), required.has(name)),
  );
}

function fieldOf(name: string, schema: JsonObject, isRequired: boolean): SchemaField {
  const choices = Array.isArray(schema.enum) ? schema.enum : "const" in schema ? [schema.const as Json] : [];
  return {
    name,
    label: typeof schema.title === "string" ? schema.title : name,
    hint: typeof schema.description === "string" ? schema.description : "",
    kind: choices.length > 0 ? "choice" : kindOf(schema.type),
    isRequired,
    choices,
    initial: schema.default,
  };
}

function kindOf(type: Json | undefined): FieldKind {
  if (type === "string") return "text";
  return type === "number" || type === "integer" || type === "boolean" ? type : "json";
}

/** A schema with its reference followed, and without the null that makes it optional. */
function resolved(schema: JsonObject, root: JsonObject): JsonObject {
  if (typeof schema.$ref === "string") {
    const path = schema.$ref.replace(/^#\//, "").split("/");
    const found = path.reduce<Json | undefined>((at, name) => (isObject(at) ? at[name] : undefined), root);
    return isObject(found) ? resolved({ ...found, ...withoutRef(schema) }, root) : {};
  }
  const options = (Array.isArray(schema.anyOf) ? schema.anyOf : []) as JsonObject[];
  const others = options.filter((option) => option.type !== "null");
  if (others.length === 1 && options.length > 1) {
    const { anyOf: _, ...own } = schema;
    return resolved({ ...others[0], ...own }, root);
  }
  return schema;
}

function withoutRef({ $ref: _, ...others }: JsonObject): JsonObject {
  return others;
}

function isObject(value: Json | undefined): value is JsonObject {
  return typeof value === "object" && value !== null && !Array.isArray(value);
}
