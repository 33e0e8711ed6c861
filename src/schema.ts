import { SchemaError } from './errors.ts'

/**
 * The Standard Schema interface, version 1 (standardschema.dev), which zod, valibot and arktype implement; the specification
 * asks to copy it rather than to depend on it.
 */
export interface StandardSchema<Input = unknown, Output = Input> {
  readonly '~standard': {
    readonly version: 1
    readonly vendor: string
    readonly validate: (value: unknown) => SchemaResult<Output> | Promise<SchemaResult<Output>>
    readonly types?: { readonly input: Input; readonly output: Output } | undefined
  }
}

/** What a Standard Schema says of a value: the output, or what is the matter with it. */
export type SchemaResult<Output> =
  | { readonly value: Output; readonly issues?: undefined }
  | { readonly issues: readonly SchemaIssue[] }

/** One thing that is the matter with a value. */
export interface SchemaIssue {
  readonly message: string
  readonly path?: readonly (PropertyKey | { readonly key: PropertyKey })[] | undefined
}

/** What a schema makes of data: the type of `session.data`. */
export type SchemaOutput<S extends StandardSchema> = NonNullable<S['~standard']['types']>['output']

/** The schema's output for `value`. @throws SchemaError naming each path that does not fit */
export async function validate(schema: StandardSchema, value: unknown): Promise<object> {
  const result = await schema['~standard'].validate(value)
  if (result.issues) {
    const issues = result.issues.map(({ path, message }) => `${pathText(path)}: ${message}`)
    throw new SchemaError(`data does not fit its schema: ${issues.join('; ')}`)
  }
  if (typeof result.value !== 'object' || result.value === null) {
    throw new SchemaError(`the schema of data must give an object, but gave ${String(result.value)}`)
  }
  return result.value
}

function pathText(path: SchemaIssue['path'] = []): string {
  return ['data', ...path.map((step) => String(typeof step === 'object' ? step.key : step))].join('.')
}
