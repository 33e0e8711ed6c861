import { closeSync, mkdirSync, openSync } from 'node:fs'
import { createRequire } from 'node:module'
import { dirname, resolve } from 'node:path'
import { inspect } from 'node:util'
import { describePassed, refuseRest } from '../passed.ts'
import { lasting, passing, type Remedy, StoreError } from '../store-error.ts'
import { messageOf } from './errors.ts'
import type { SqlExecutor, SqlResult, SqlValue } from './executor.ts'
import { ForeignLock } from './foreign-lock.ts'
import { checkName, LONGEST_TABLE } from './names.ts'
import { type SqlStore, sqlStore } from './store.ts'

/** Which table `sqliteStore` uses. */
export interface SqliteOptions {
  /** A letter or underscore, then up to 62 letters, digits or underscores. `holdfast_sessions` by default. */
  readonly table?: string
}

/** An open database: `DatabaseSync` of `node:sqlite`, or `Database` of `better-sqlite3` or `libsql`. */
export interface SqliteHandle {
  prepare(sql: string): SqliteStatement
}

/** What is used of a prepared statement. */
export interface SqliteStatement {
  all(...params: unknown[]): unknown[]
  run(...params: unknown[]): { readonly changes: number | bigint }
}

/**
 * Keeps sessions in a table of a SQLite database: for one machine, with any number of processes. What was committed
 * survives the kill of a process; with `durable`, also a power failure.
 *
 * `source` is a path, `':memory:'`, or a database that is open already. A path is opened with `node:sqlite` (Node 22.13
 * and newer), else with the package `libsql`; missing folders are made (0700), and so is the file (0600). A database
 * passed in stays as it is set up and open when the store closes. It must not hold a transaction open across an
 * `await`: what the store writes meanwhile would be part of it.
 *
 * A write waits for the lock of another process for a second at the most. In a database that was passed in, its own `busy_timeout` says how long,
 * and nothing else runs in this process meanwhile. Users and external ids are well-formed text without the character U+0000.
 *
 * @example
 * ```ts
 * import { createSessions } from 'holdfast'
 * import { sqliteStore } from 'holdfast/stores/sql'
 *
 * const sessions = createSessions({ secret: process.env.SESSION_SECRET, store: sqliteStore('./data/sessions.db') })
 * ```
 *
 * @throws RangeError for a table name that is none. TypeError for a source that is none. StoreError if the file cannot
 * be opened or no driver is there.
 */
export function sqliteStore(source: string | SqliteHandle, options: SqliteOptions = {}): SqlStore {
  const { table = 'holdfast_sessions', ...unknown } = options
  refuseRest('sqliteStore', unknown, 'table')
  checkName('sqliteStore', 'table', table, LONGEST_TABLE.sqlite)
  return sqlStore(typeof source === 'string' ? open(source) : adopt(source), table)
}

/** How long a write waits for those of other processes. */
const PATIENCE_MS = 1_000
/** How much of that at a time nothing else runs in this process. Most locks are held for less. */
const STANDSTILL_MS = 20

function adopt(handle: SqliteHandle): SqlExecutor {
  const [row] = tryOut(handle)
  if (typeof row !== 'object' || row === null || !('answer' in row) || Number(row.answer) !== 42) {
    throw new TypeError(unsupported(handle, 'it does not answer a query with rows at once'))
  }
  return executorOn(handle)
}

/** Asynchronous drivers have the same method names; only a query tells them apart. */
function tryOut(handle: SqliteHandle): unknown[] {
  try {
    const rows: unknown = handle.prepare('SELECT 42 AS answer').all()
    return Array.isArray(rows) ? rows : []
  } catch (cause) {
    throw new TypeError(unsupported(handle, messageOf(cause)), { cause })
  }
}

function unsupported(handle: unknown, why: string): string {
  return (
    `sqliteStore: cannot use ${describePassed(handle)}: ${why}. Pass a path, ':memory:', or an open database: ` +
    'DatabaseSync of node:sqlite, Database of better-sqlite3 or libsql.'
  )
}

interface OwnDatabase extends SqliteHandle {
  close(): void
}

function open(path: string): SqlExecutor {
  if (path === '' || /^[a-z][a-z0-9+.-]+:/i.test(path)) {
    throw new TypeError(
      `sqliteStore: ${inspect(path)} is not a path. Pass one, ':memory:' or an open database.`,
    )
  }
  const Database = loadDriver()
  let database: OwnDatabase | undefined
  try {
    database = new Database(path === ':memory:' ? path : privateFile(path))
    tune(database)
    return owning(database)
  } catch (cause) {
    database?.close()
    const { cure, retryable } = remedyFor(cause) ?? CANNOT_OPEN
    const problem = `${path}: ${messageOf(cause)}. ${cure}`
    throw new StoreError('sqlite', 'open', problem, { cause, retryable })
  }
}

function loadDriver(): new (path: string) => OwnDatabase {
  const builtin = process.getBuiltinModule('node:sqlite') as
    | { readonly DatabaseSync: new (path: string) => OwnDatabase }
    | undefined
  if (builtin) return builtin.DatabaseSync
  try {
    return createRequire(import.meta.url)('libsql')
  } catch (cause) {
    throw new StoreError(
      'sqlite',
      'open',
      `Node ${process.version} has no node:sqlite, and the package libsql cannot be loaded in its place. ` +
        'Run `npm install libsql`, or use Node 22.13 or newer, or pass an open database instead of a path.',
      { cause, retryable: false },
    )
  }
}

/**
 * Session data is nobody else's to read; SQLite gives its two companion files the mode of the first. A file that exists
 * must not be opened here: closing it again would release the locks that this process may hold on it.
 */
function privateFile(path: string): string {
  const file = resolve(path)
  mkdirSync(dirname(file), { recursive: true, mode: 0o700 })
  try {
    closeSync(openSync(file, 'wx', 0o600))
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code !== 'EEXIST') throw error
  }
  return file
}

function tune(database: OwnDatabase): void {
  pragma(database, `busy_timeout = ${STANDSTILL_MS}`)
  const [mode] = patiently(() => pragma(database, 'journal_mode = WAL')) as { journal_mode: string }[]
  // With another journal, which a file system may force on us, NORMAL could corrupt the file in a power failure.
  if (mode?.journal_mode === 'wal') pragma(database, 'synchronous = NORMAL')
}

/**
 * Several processes that open a new file at once collide over its journal mode, and SQLite tells all but one of them
 * that the file is busy at once, whatever `busy_timeout` says.
 */
function patiently<T>(attempt: () => T): T {
  const deadline = performance.now() + PATIENCE_MS
  for (;;) {
    try {
      return attempt()
    } catch (error) {
      if (!isBusy(error) || performance.now() > deadline) throw error
      Atomics.wait(new Int32Array(new SharedArrayBuffer(4)), 0, 0, 5)
    }
  }
}

function pragma(database: SqliteHandle, setting: string): unknown[] {
  return database.prepare(`PRAGMA ${setting}`).all()
}

function owning(database: OwnDatabase): SqlExecutor {
  const perform = performerOn(database)
  const lock = new ForeignLock(PATIENCE_MS, isBusy)
  return {
    ...executor,
    // Reading does not wait for those who write.
    run: (sql, params, durable) =>
      lock.run(
        () => (durable ? durably(database, () => perform(sql, params)) : perform(sql, params)),
        isQuery(sql),
      ),
    close: async () => database.close(),
  }
}

function executorOn(handle: SqliteHandle): SqlExecutor {
  const perform = performerOn(handle)
  return { ...executor, run: async (sql, params) => perform(sql, params) }
}

const executor = { dialect: 'sqlite', inProcess: true, remedy: remedyFor } as const

function performerOn(handle: SqliteHandle): (sql: string, params: readonly SqlValue[]) => SqlResult {
  const prepared = new Map<string, SqliteStatement>()
  const libsql = isLibsql(handle) ? handle : undefined
  return (sql, params) => {
    let statement = prepared.get(sql)
    if (statement === undefined) {
      statement = handle.prepare(sql)
      prepared.set(sql, statement)
    }
    const known = statement
    if (isQuery(sql)) return { rows: known.all(...params) as object[], affected: 0 }
    const { changes } = libsql ? locked(libsql, () => known.run(...params)) : known.run(...params)
    return { rows: [], affected: Number(changes) }
  }
}

interface LibsqlHandle extends SqliteHandle {
  exec(sql: string): unknown
}

function isLibsql(handle: SqliteHandle): handle is LibsqlHandle {
  return 'syncUntil' in handle
}

/**
 * libsql (0.5) does not reset a statement that finds the file locked. Until the same one runs again, it keeps a transaction open: what other statements write
 * meanwhile seems to succeed, is seen by nobody else, and is lost. So the lock is taken by a statement that is done with at once, and the write finds it taken.
 */
function locked<T>(database: LibsqlHandle, write: () => T): T {
  database.exec('BEGIN IMMEDIATE')
  try {
    const result = write()
    database.exec('COMMIT')
    return result
  } catch (error) {
    try {
      database.exec('ROLLBACK')
    } catch {} // a full disk has ended it already
    throw error
  }
}

function durably<T>(database: SqliteHandle, write: () => T): T {
  const [before] = pragma(database, 'synchronous') as { synchronous: number }[]
  pragma(database, 'synchronous = FULL')
  try {
    return write()
  } finally {
    pragma(database, `synchronous = ${before?.synchronous}`)
  }
}

function isQuery(sql: string): boolean {
  return sql.startsWith('SELECT')
}

const CANNOT_OPEN = lasting(
  'The folder must exist or be makable, and folder and file must be writable for this user.',
)

/** By the name of SQLite's primary result code: its number, and what can be done. */
const ERRORS = {
  SQLITE_BUSY: [
    5,
    passing('Another connection kept the write lock too long: look for an open transaction or a backup.'),
  ],
  SQLITE_LOCKED: [6, passing('This connection has a query or transaction open that is in the way.')],
  SQLITE_READONLY: [8, lasting('The file and its folder must be writable for this user.')],
  SQLITE_CORRUPT: [
    11,
    lasting('The file is damaged: restore a backup, or move it away to start with an empty one.'),
  ],
  SQLITE_FULL: [13, lasting('The disk is full; nothing was written.')],
  SQLITE_CANTOPEN: [14, CANNOT_OPEN],
  SQLITE_NOTADB: [26, lasting('The file holds something else: give another path, or move it away.')],
} as const

type ErrorName = keyof typeof ERRORS

/** `node:sqlite` tells the code in `errcode`, libsql in `rawCode`, better-sqlite3 its name in `code`. */
function codeOf(error: unknown): ErrorName | undefined {
  if (typeof error !== 'object' || error === null) return undefined
  const { errcode, rawCode, code } = error as { errcode?: number; rawCode?: number; code?: string }
  const primary = (errcode ?? rawCode ?? 0) & 0xff
  const names = Object.keys(ERRORS) as ErrorName[]
  return names.find((name) => ERRORS[name][0] === primary || code?.startsWith(name))
}

function isBusy(error: unknown): boolean {
  return codeOf(error) === 'SQLITE_BUSY'
}

function remedyFor(error: unknown): Remedy | undefined {
  const code = codeOf(error)
  return code && ERRORS[code][1]
}
