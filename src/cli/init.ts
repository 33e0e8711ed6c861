import type { Store } from '../store.ts'
import type { SqlStore } from '../stores/sql/index.ts'
import { type Command, DONE, UsageError } from './command.ts'
import { readConfig } from './config.ts'
import { printJson, printLine } from './output.ts'
import { JSON_HELP, refusePositionals, SITE_OPTIONS, STORE_HELP, storeOf, withStore } from './site.ts'

export const init: Command = {
  summary: 'makes the table of an SQL store, or prints its DDL',
  options: { store: SITE_OPTIONS.store, json: SITE_OPTIONS.json, print: { type: 'boolean' } },
  help: `Usage: holdfast init [options]

Makes the table and the indexes of an SQL store where they are missing, and checks those that are there. The first operation of a site does so
by itself; this is for deployments in which the site's user may not, and to learn of a problem before.

  holdfast init --store 'postgres://owner:secret@db/app?schema=web&table=sessions'
  holdfast init --print > migrations/007_sessions.sql     # connects to nothing (the store is in HOLDFAST_STORE)

Stores other than SQLite, PostgreSQL, MySQL and MariaDB have no tables, and need no init.

Options:
${STORE_HELP}
      --print             prints the DDL, and does nothing
${JSON_HELP}

JSON: { store, schema }, the DDL as one text, or null where there are no tables.

Exit codes: 0 done, 1 failed, 2 wrong usage.
`,

  async run(given) {
    refusePositionals(given)
    const { json, print } = given.values
    const source = storeOf(given.values, await readConfig())
    const outer = /^(layered|migrating):/i.exec(typeof source === 'string' ? source : `${source.name}:`)?.[1]
    if (outer !== undefined) {
      throw new UsageError(
        `init makes the tables of one store, and ${outer}: is made of two; give each of its SQL stores by its own URL`,
      )
    }
    return withStore(print ? unopened(source) : source, async (store) => {
      const sql = isSql(store) ? store : undefined
      if (print && !sql)
        throw new UsageError(`the ${store.name} store has no tables, so there is no DDL to print`)
      if (!print) await sql?.createTables()
      if (json) printJson({ store: store.name, schema: sql?.schema() ?? null })
      else if (print) process.stdout.write(sql!.schema())
      else
        printLine(
          sql
            ? `The table of the ${store.name} store is there, with its indexes.`
            : `The ${store.name} store has no tables: there is nothing to make.`,
        )
      return DONE
    })
  },
}

/** A file of SQLite would be made as soon as it is opened. Of others nothing is opened before it is used. */
function unopened(source: string | Store): string | Store {
  if (typeof source !== 'string') return source
  return source.replace(/^sqlite:[^?]*/i, 'sqlite::memory:')
}

function isSql(store: Store): store is SqlStore {
  return 'createTables' in store && 'schema' in store
}
