/** A JSON schema of the document. */
export type Schema = Record<string, unknown>;

export interface Parameter {
  name: string;
  in: 'path' | 'query' | 'header';
  required?: boolean;
  schema?: Schema;
}

interface DocumentedOperation {
  parameters?: Parameter[];
  requestBody?: {
    content: Record<string, { schema: Schema; examples?: Record<string, { value: unknown }> }>;
  };
  responses: Record<string, { headers?: object; content?: Record<string, { schema?: Schema }> }>;
}

/** The document of the API, as far as requests are made of it. */
export interface ApiDocument {
  paths: Record<string, Record<string, DocumentedOperation>>;
  components: { schemas: Record<string, Schema> };
}

/** One route of the document. */
export interface Operation {
  /** Such as `post /jobs`. */
  name: string;
  method: string;
  path: string;
  parameters: Parameter[];
  body: Schema | undefined;
  examples: unknown[];
  responses: DocumentedOperation['responses'];
}

/** Every route of the document. */
export function operationsOf({ paths }: ApiDocument): Operation[] {
  return Object.entries(paths).flatMap(([path, methods]) =>
    Object.entries(methods).map(([method, { parameters = [], requestBody, responses }]) => {
      const content = requestBody?.content['application/json'];
      return {
        name: `${method} ${path}`,
        method: method.toUpperCase(),
        path,
        parameters,
        body: content?.schema,
        examples: Object.values(content?.examples ?? {}).map(({ value }) => value),
        responses,
      };
    }),
  );
}

const REFERENCE = '#/components/schemas/';

/** What a schema stands for, where it is a reference. */
export function resolve({ components }: ApiDocument, schema: Schema): Schema {
  const { $ref: reference } = schema;
  if (typeof reference !== 'string') return schema;
  const named = components.schemas[reference.slice(REFERENCE.length)];
  if (!named) throw new Error(`The document has no ${reference}.`);
  return resolve({ components } as ApiDocument, named);
}
