import type { StoredRecord } from '../../store.ts'

/** A record as the server had it a moment ago, and its CAS token, which holds for one connection: a server that starts again counts anew. */
export interface RecentRecord {
  readonly record: StoredRecord
  readonly cas: string
  readonly epoch: number
}

export const MAX_RECORDS = 10_000
export const MAX_CHARACTERS = 4 * 1024 * 1024

/**
 * The records that were loaded or written last, so that the write that follows needs no read of its own. Never an answer by itself:
 * what is in here may have changed, and only the server knows.
 */
export class Recent {
  readonly #byKey = new Map<string, RecentRecord>()
  #characters = 0

  /** What was set during the connection that is open now. */
  get(key: string, epoch: number | undefined): RecentRecord | undefined {
    const found = this.#byKey.get(key)
    return found?.epoch === epoch ? found : undefined
  }

  set(key: string, recent: RecentRecord): void {
    this.delete(key)
    this.#byKey.set(key, recent)
    this.#characters += sizeOf(key, recent)
    // A Map goes from the oldest to the newest.
    for (const oldest of this.#byKey.keys()) {
      if (this.#byKey.size <= MAX_RECORDS && this.#characters <= MAX_CHARACTERS) break
      this.delete(oldest)
    }
  }

  delete(key: string): void {
    const found = this.#byKey.get(key)
    if (found === undefined) return
    this.#byKey.delete(key)
    this.#characters -= sizeOf(key, found)
  }
}

function sizeOf(key: string, { record }: RecentRecord): number {
  return key.length + record.text.length + (record.user?.length ?? 0) + (record.externalId?.length ?? 0)
}
