import type { CommandModule } from 'yargs';
import { z } from 'zod';
import { configSchema } from '../config/experimentSchema.js';
import { noiseSchema } from '../config/noise.js';
import { sweepSchema } from '../config/sweep.js';
import { likeOneOf } from './options.js';
import { jsonText } from '../base/files.js';

interface JsonSchema {
  type?: string | string[];
  enum?: unknown[];
  properties?: Record<string, JsonSchema>;
  required?: string[];
  items?: JsonSchema;
  additionalProperties?: JsonSchema | boolean;
  anyOf?: JsonSchema[];
  oneOf?: JsonSchema[];
  [keyword: string]: unknown;
}

const KINDS = ['experiment', 'noise', 'sweep'] as const;
type Kind = (typeof KINDS)[number];

const SCHEMAS: Record<Kind, { schema: z.ZodType; title: string }> = {
  experiment: { schema: configSchema, title: 'An experiment of bang' },
  noise: { schema: noiseSchema, title: 'A noise study of bang' },
  sweep: { schema: sweepSchema, title: 'A sweep of bang' },
};

export const schemaCommand: CommandModule<object, { kind: Kind }> = {
  builder: (yargs) =>
    yargs
      .positional('kind', {
        choices: KINDS,
        coerce: likeOneOf(KINDS),
        default: 'experiment' as const,
        describe: 'of experiments, noise studies or sweeps',
      })
      .example('$0 schema > bang.schema.json', 'then begin a configuration with this line:')
      .example('# yaml-language-server: $schema=bang.schema.json', 'and editors complete its keys')
      .example('$0 schema noise > noise.schema.json', 'the same for noise studies') as never,
  handler: ({ kind }) => {
    process.stdout.write(jsonText(configJsonSchema(kind)));
  },
};

/**
 * The JSON Schema of a configuration file, in draft 7, which all editors read. It is looser than
 * the program: a file that extends another may lack any key, and may drop one by setting it to null.
 */
export function configJsonSchema(kind: Kind): JsonSchema {
  const options = { target: 'draft-07', io: 'input' } as const;
  const { schema: shape, title } = SCHEMAS[kind];
  const { $schema, ...schema } = z.toJSONSchema(shape, options) as JsonSchema;
  const { properties = {}, ...rest } = loosen(schema);
  // The default is the name of the file, not the schema's fallback.
  const name = { ...properties.name };
  delete name.default;
  return {
    $schema,
    title,
    ...rest,
    properties: {
      extends: {
        type: 'string',
        description:
          'Another configuration, relative to this file, or the name of one that comes with the program: its keys hold where this one has none. A key set to null here is dropped.',
      },
      ...properties,
      name,
    },
    patternProperties: { '^x-': {} },
  };
}

/** Requires no key, and allows null for every optional key. */
function loosen(schema: JsonSchema): JsonSchema {
  const { required = [], oneOf, ...rest } = schema;
  const loose: JsonSchema = rest;
  // JavaScript's largest integer is not a meaningful bound.
  if (loose.maximum === Number.MAX_SAFE_INTEGER) delete loose.maximum;
  if (loose.anyOf) loose.anyOf = loose.anyOf.map(loosen);
  if (loose.items) loose.items = loosen(loose.items);
  if (typeof loose.additionalProperties === 'object') {
    loose.additionalProperties = loosen(loose.additionalProperties);
  }
  if (loose.properties) {
    loose.properties = Object.fromEntries(
      Object.entries(loose.properties).map(([key, value]) => {
        const inner = loosen(value);
        return [key, required.includes(key) ? inner : orNull(inner)];
      }),
    );
  }
  if (oneOf) {
    // Without required keys, more than one member can fit; and a file that changes the policy
    // drops the keys of the inherited one.
    const members = oneOf.map((member) => loosen(member));
    const keys = new Set(members.flatMap((member) => Object.keys(member.properties ?? {})));
    loose.anyOf = members.map((member) => ({
      ...member,
      properties: {
        ...member.properties,
        ...Object.fromEntries(
          [...keys]
            .filter((key) => !Object.hasOwn(member.properties ?? {}, key))
            .map((key) => [key, { type: 'null' }]),
        ),
      },
    }));
  }
  return loose;
}

function orNull(schema: JsonSchema): JsonSchema {
  if (schema.anyOf) return { ...schema, anyOf: [...schema.anyOf, { type: 'null' }] };
  const { type = [], enum: values } = schema;
  return { ...schema, type: [type, 'null'].flat(), ...(values && { enum: [...values, null] }) };
}
