// Schemas as people write them; prints what the installed zod makes of them.
//   npm install zod@4 && node zod_schemas.mjs > ../schemas/zod-X.Y.json
import * as z from "zod";
import { createRequire } from "node:module";

const Address = z.object({ street: z.string(), city: z.string().optional() }).meta({ id: "Address", title: "Address" });
const Node = z.object({
  name: z.string(),
  get children() {
    return z.array(Node);
  },
});

const schemas = {
  optionals: z.object({ number: z.int().optional(), must_be_said: z.int().nullable(), both: z.number().nullish(), colour: z.enum(["red", "blue"]).nullable(), yes: z.boolean().nullable(), address: Address.optional(), or_null: Address.nullable(), with_default: z.string().default("five") }),
  choices: z.object({ colour: z.enum(["red", "blue"]), literals: z.literal(["x", 1, true]), only: z.literal("x"), titled: z.union([z.literal("eu").meta({ title: "Europe" }), z.literal("us").meta({ title: "United States" })]), colours: z.array(z.enum(["red", "blue"])) }),
  numbers: z.object({ whole: z.int(), positive: z.int().positive(), stepped: z.number().min(1).max(5).multipleOf(0.5), share: z.number().gt(0).lt(1) }),
  formats: z.object({ email: z.email(), url: z.url(), uuid: z.uuid(), day: z.iso.date(), moment: z.iso.datetime(), with_offset: z.iso.datetime({ offset: true }), local: z.iso.datetime({ local: true }), milliseconds: z.iso.datetime({ precision: 3 }), at: z.iso.time(), to_the_second: z.iso.time({ precision: 0 }), to_the_minute: z.iso.time({ precision: -1 }), moment_to_the_minute: z.iso.datetime({ precision: -1 }), length: z.iso.duration(), host: z.hostname(), emoji: z.emoji(), ipv4: z.ipv4(), base64: z.base64() }),
  nested: z.object({ billing: Address, lines: z.array(Address).min(1).max(3), tags: z.array(z.string()), pet: z.discriminatedUnion("kind", [z.object({ kind: z.literal("cat"), lives: z.int() }), z.object({ kind: z.literal("dog"), tricks: z.array(z.string()) })]), both: z.intersection(z.object({ a: z.string() }), z.object({ b: z.number() })), known_keys: z.record(z.enum(["north", "south"]), z.number()) }),
  odd: z.object({ plain: z.string(), pair: z.tuple([z.string(), z.number()]), mapping: z.record(z.string(), z.number()), anything: z.any(), either: z.union([z.string(), z.number()]), node: Node }),
};

const made = { "made by": `zod ${createRequire(import.meta.url)("zod/package.json").version}` };
for (const [name, schema] of Object.entries(schemas)) {
  made[name] = z.toJSONSchema(schema, { io: "input" });
  made[`${name} (draft 7)`] = z.toJSONSchema(schema, { io: "input", target: "draft-7" });
}
console.log(JSON.stringify(made, null, 1));
