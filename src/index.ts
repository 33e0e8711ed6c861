export type { Answer } from './answer.ts'
export type { CommitMessage, OpenMessage, Outcome, StoreMessage } from './channels.ts'
export type { Codec } from './codec.ts'
export type { Cookie, CookieAttributes, HeaderChange } from './cookie.ts'
export type { Duration } from './duration.ts'
export {
  AuthenticationRequiredError,
  ConflictError,
  CookieWithheldError,
  CrossOriginError,
  DataError,
  HeadersSentError,
  HoldfastError,
  InvalidRecordError,
  NotLoadedError,
  NotSavedError,
  OptionsError,
  ReadOnlySessionError,
  SchemaError,
  SessionEndedError,
  SessionLimitError,
  StoreUnavailableError,
} from './errors.ts'
export type { EventMessage, Listener, SessionEvents } from './events.ts'
export type { Deadlines } from './guard.ts'
export type { LifetimePolicy } from './lifetime.ts'
export type { RevokeTarget, SessionInfo, SessionPage, SessionStats } from './management.ts'
export type { MergeRule } from './merge.ts'
export type {
  CookieOptions,
  CsrfOptions,
  LifetimeOptions,
  LifetimePreset,
  Logger,
  MergeRulesFor,
  OnReuse,
  OnStoreFailure,
  Secret,
  SessionLimit,
  SessionOptions,
} from './options.ts'
export type { Policy, StorePolicy } from './policy.ts'
export type { Register, RegisteredSessions } from './register.ts'
export type { HttpRequest, RequestSource, RequestView } from './request.ts'
export type { SchemaIssue, SchemaOutput, SchemaResult, StandardSchema } from './schema.ts'
export type { FlashMessage, LoginOptions, LogoutOptions, Session, SessionLifetime } from './session.ts'
export type { Sessions } from './sessions.ts'
export { createSessions } from './sessions.ts'
export type {
  Finding,
  LoadOptions,
  Page,
  SessionIndex,
  Store,
  StoredRecord,
  StoreReport,
  Tombstone,
  UpdateResult,
  WriteOptions,
} from './store.ts'
export { isTombstone, NEVER, UnsupportedError } from './store.ts'
export { memoryStore } from './stores/memory.ts'
export { StoreError } from './stores/store-error.ts'
export type { ExportedSession, UserExport } from './user-sessions.ts'
export type { Presented } from './visit.ts'
