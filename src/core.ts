import type { ClientWatch } from './client-watch.ts'
import type { HeaderChange } from './cookie.ts'
import type { HoldfastError } from './errors.ts'
import type { Events } from './events.ts'
import type { Operation } from './operations.ts'
import { applyAll } from './operations.ts'
import type { SessionRecord } from './record.ts'
import { newRecord } from './record.ts'
import type { Settings } from './settings.ts'
import type { TokenSigner } from './token.ts'
import type { Vault } from './vault.ts'
import type { Visit } from './visit.ts'
import { putData } from './visit.ts'
import type { Work } from './work.ts'

/** What the parts of a manager share. */
export interface Core {
  readonly settings: Settings
  readonly vault: Vault
  readonly signer: TokenSigner
  readonly events: Events
  /** Absent unless it is asked for. */
  readonly watch: ClientWatch | undefined
  readonly work: Work
  extension: Extension | undefined
}

/** What an entry point beside the core has a say in: docs/decisions/023-device-binding.md. What it keeps of a session is `record.bound`. */
export interface Extension {
  /**
   * Why this request may not have the session that its token names. Nothing but a login or a logout gets through then. Asked also of a token that
   * has been replaced, before its reuse ends the session.
   * @throws InvalidRecordError for a record that it cannot read, with which `onInvalid` deals
   */
  refuse(visit: Visit, record: SessionRecord): HoldfastError | undefined
  /** What an answer that sets or clears the session's cookie must carry besides. */
  headers(visit: Visit): readonly HeaderChange[]
}

/** Makes the visit one to no session at all, which a write turns into a new one. */
export function startAnew(
  visit: Visit,
  core: Core,
  initial: string,
  operations: readonly Operation[] = [],
): void {
  const now = core.settings.clock()
  visit.standing = 'new'
  visit.id = undefined
  visit.handle = undefined
  visit.brought = 0
  visit.generation = 1
  visit.kept = undefined
  visit.unresolved = undefined
  visit.lost = []
  visit.unconcluded = undefined
  visit.carried = undefined
  visit.refusal = undefined
  // What an earlier commit made due was for the session that is over.
  if (visit.cookie === 'send') visit.cookie = 'none'
  visit.operations = operations
  visit.record = applyAll(newRecord(now), operations, { held: 1, now, policy: core.settings.lifetime })
  visit.base = initial
}

/** Puts other data in the handler's hands, in the object that it may already hold. */
export function replaceData(visit: Visit, core: Core, text: string): void {
  putData(visit, core.settings.codec.decode(text))
  visit.base = text
}
